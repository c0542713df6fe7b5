# Linear mixed models fitted by lme4 and then polished to the exact optimum.
#
# lme4's optimisers stop early (up to 0.01 deviance units on easy models). Here several of them give
# a start, and Newton's method takes it to a score of rounding size. The score comes from the dense
# marginal covariance, not from lme4's deviance, so it is also a check of that deviance.

suppressPackageStartupMessages(library(lme4))

# Quantities that the score needs and that theta does not change; rows scaled by sqrt(weights).
dense_parts <- function(parsed) {
  frame <- parsed$fr
  y <- model.response(frame)
  offset <- model.offset(frame)
  if (!is.null(offset)) y <- y - offset
  weights <- model.weights(frame)
  root <- if (is.null(weights)) rep(1, length(y)) else sqrt(weights)
  terms <- parsed$reTrms
  list(
    y = root * y, X = root * parsed$X, Z = root * as.matrix(Matrix::t(terms$Zt)),
    Lambdat = terms$Lambdat, Lind = terms$Lind, n_theta = length(terms$theta),
    reml = parsed$REML > 0
  )
}

# Gradient in theta of the profiled objective. With V = I + Z L L' Z' and P the projection that
# takes out X, the derivative along V_k = dV/dtheta_k is
#   tr(V^-1 V_k) [REML: tr(P V_k)]  -  df * (Py)' V_k (Py) / y'Py.
score <- function(theta, parts) {
  pattern <- parts$Lambdat
  relative_factor <- function(x) {
    pattern@x <- as.double(x)
    as.matrix(Matrix::t(pattern))
  }
  ZL <- parts$Z %*% relative_factor(theta[parts$Lind])
  n <- length(parts$y)
  V_inverse <- chol2inv(chol(diag(n) + tcrossprod(ZL)))
  VX <- V_inverse %*% parts$X
  P <- V_inverse - VX %*% solve(crossprod(parts$X, VX), t(VX))
  Py <- drop(P %*% parts$y)
  df <- if (parts$reml) n - ncol(parts$X) else n
  M <- if (parts$reml) P else V_inverse
  vapply(seq_len(parts$n_theta), function(k) {
    Zk <- parts$Z %*% relative_factor(parts$Lind == k)
    2 * sum((M %*% ZL) * Zk) -
      2 * df * sum(crossprod(ZL, Py) * crossprod(Zk, Py)) / sum(parts$y * Py)
  }, numeric(1))
}

score_jacobian <- function(theta, parts, step = 1e-4) {
  columns <- lapply(seq_along(theta), function(k) {
    h <- replace(numeric(length(theta)), k, step * max(1, abs(theta[k])))
    (score(theta + h, parts) - score(theta - h, parts)) / (2 * sum(h))
  })
  jacobian <- do.call(cbind, columns)
  (jacobian + t(jacobian)) / 2
}

# Newton's method on all of R^k: the objective is even in the sign of each column of Lambda, so that
# theta = 0 is an ordinary stationary point. A negative curvature there is left along its direction.
newton <- function(theta, devfun, parts, tolerance = 1e-9, max_steps = 60) {
  for (step_number in seq_len(max_steps)) {
    gradient <- score(theta, parts)
    hessian <- eigen(score_jacobian(theta, parts), symmetric = TRUE)
    if (max(abs(gradient)) < 1e-5 && min(hessian$values) < -1e-3) {
      direction <- hessian$vectors[, length(theta)]
      sizes <- c(-1, 1) %o% 2^(0:-12)
      values <- vapply(sizes, function(s) devfun(theta + s * direction), numeric(1))
      theta <- theta + sizes[which.min(values)] * direction
      next
    }
    if (max(abs(gradient)) < tolerance) break
    curvature <- pmax(abs(hessian$values), 1e-6 * max(abs(hessian$values)))
    step <- -drop(hessian$vectors %*% (crossprod(hessian$vectors, gradient) / curvature))
    size <- 1
    if (max(abs(gradient)) > 1e-4) { # closer in, the objective's rounding would decide, not descent
      here <- devfun(theta)
      while (size > 1e-8 && !(devfun(theta + size * step) < here)) size <- size / 2
    }
    theta <- theta + size * step
  }
  theta
}

# Signs of Lambda's columns such that its diagonal is not negative; tiny entries become exact zeros.
canonical_theta <- function(theta, parsed) {
  start <- 0
  for (columns in parsed$reTrms$cnms) {
    q <- length(columns)
    column_of <- rep(seq_len(q), q:1)
    for (column in seq_len(q)) {
      entries <- start + which(column_of == column)
      if (theta[entries[1]] < 0) theta[entries] <- -theta[entries]
    }
    start <- start + length(column_of)
  }
  replace(theta, abs(theta) < 1e-6, 0)
}

# Fit by lme4's optimisers from several starts, polish the best, and leave devfun at the optimum.
polish <- function(parsed, optimizers = c("nloptwrap", "bobyqa", "Nelder_Mead"),
                   starts = c(1, 0.1, 3)) {
  devfun <- do.call(mkLmerDevfun, parsed)
  parts <- dense_parts(parsed)
  diagonal <- parsed$reTrms$lower == 0
  candidates <- list()
  for (optimizer in optimizers) {
    for (start in starts) {
      optimum <- suppressMessages(suppressWarnings(
        optimizeLmer(devfun, optimizer = optimizer, start = ifelse(diagonal, start, 0))
      ))
      candidates <- c(candidates, list(optimum$par))
    }
  }
  default <- candidates[[1]]
  values <- vapply(candidates, devfun, numeric(1))
  theta <- newton(candidates[[which.min(values)]], devfun, parts)
  theta <- canonical_theta(theta, parsed)
  objective <- devfun(theta) # last call: it leaves lme4's state at the optimum
  list(
    devfun = devfun, theta = theta, objective = objective, score = score(theta, parts),
    hessian = score_jacobian(theta, parts), default_objective = values[1], default_theta = default
  )
}

# The polished fit as an ordinary lme4 object.
polished_lmer <- function(formula, data, reml, weights = NULL) {
  arguments <- list(formula = formula, data = data, REML = reml)
  if (!is.null(weights)) arguments$weights <- weights
  parsed <- do.call(lFormula, arguments)
  polished <- polish(parsed)
  optimum <- list(par = polished$theta, fval = polished$objective, conv = 0, message = "polished")
  polished$fit <- mkMerMod(environment(polished$devfun), optimum, parsed$reTrms, parsed$fr)
  polished
}
