#!/usr/bin/env Rscript
# Reference diagnostics of lme4, written as tests/data/diagnostics/<data set>-<fit>.json.
#
#   Rscript scripts/make_reference_diagnostics.R [output directory]
#
# Needs R with lme4. Data are those of the same name in tests/data/lme4
# (scripts/make_reference_values.R), where "unbalanced" says so the rows with row^2 mod 11 > 3. Every
# fit is polished, the refits without a level too, because lme4's default stop would hide differences below 1e-4. What lme4's own
# influence() returns, default stop and all, is kept beside them. The R package "performance" is
# not used: its formulas are written out.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "polished_lmer.R"))
source(file.path(dirname(script), "write_json.R"))

arguments <- commandArgs(trailingOnly = TRUE)
directory <- if (length(arguments)) arguments[1] else file.path(dirname(script), "..", "tests/data/diagnostics")
dir.create(directory, recursive = TRUE, showWarnings = FALSE)

short_weights <- function(n) 0.5 + (seq_len(n) * 7) %% 10 / 5 # as in make_reference_values.R
sleepstudy$w <- short_weights(nrow(sleepstudy))
Penicillin$w <- short_weights(nrow(Penicillin))
unbalanced <- function(data) data[seq_len(nrow(data))^2 %% 11 > 3, ]
data(list = "Machines", package = "nlme")
Machines <- as.data.frame(unclass(Machines), stringsAsFactors = FALSE)

slope <- Reaction ~ Days + (Days | Subject)
specs <- list(
  list(dataset = "sleepstudy", name = "slope", data = sleepstudy, formula = slope, delete = "Subject"),
  list(dataset = "sleepstudy", name = "slope_weighted", data = sleepstudy, formula = slope,
    weights = "w", delete = "Subject"),
  # generalised and ordinary least squares agree in the balanced design, not here
  list(dataset = "sleepstudy", name = "slope_unbalanced", data = unbalanced(sleepstudy),
    formula = slope, unbalanced = TRUE, delete = "Subject"),
  list(dataset = "sleepstudy", name = "independent", data = sleepstudy,
    formula = Reaction ~ Days + (Days || Subject)),
  list(dataset = "sleepstudy", name = "no_fixed_slope", data = sleepstudy,
    formula = Reaction ~ 1 + (Days | Subject)),
  list(dataset = "PenicillinUnbalanced", name = "crossed_weighted", data = unbalanced(Penicillin),
    formula = diameter ~ 1 + (1 | plate) + (1 | sample), weights = "w", delete = "sample"),
  list(dataset = "Pastes", name = "nested", data = Pastes,
    formula = strength ~ 1 + (1 | batch / cask), delete = "batch"),
  list(dataset = "Machines", name = "vector", data = Machines,
    formula = score ~ Machine + (Machine | Worker))
)

# Change of the fixed effects when rows go: generalised least squares on the rows that stay, with
# the covariance of the full fit.
held_change <- function(fit, groups) {
  X <- getME(fit, "X")
  ZL <- as.matrix(getME(fit, "Z") %*% getME(fit, "Lambda"))
  V <- diag(1 / weights(fit), nobs(fit)) + tcrossprod(ZL)
  y <- getME(fit, "y") - getME(fit, "offset")
  gls <- function(rows) {
    VX <- solve(V[rows, rows], X[rows, , drop = FALSE])
    solve(crossprod(VX, X[rows, , drop = FALSE]), crossprod(VX, y[rows]))
  }
  full <- gls(seq_along(y))
  t(vapply(groups, function(out) drop(gls(setdiff(seq_along(y), out)) - full), numeric(ncol(X))))
}

as_rows <- function(matrix, p) matrix_rows(matrix(matrix, ncol = p))

deletions <- function(spec, fit, data) {
  group <- data[[spec$delete]]
  rows <- split(seq_len(nrow(data)), group)
  p <- length(fixef(fit))
  single <- held_change(fit, seq_len(nrow(data)))
  level <- held_change(fit, rows)
  refits <- lapply(rows, function(out) {
    kept <- droplevels(data[-out, ])
    polished_lmer(spec$formula, kept, TRUE, if (!is.null(spec$weights)) kept[[spec$weights]])$fit
  })
  refit_change <- t(vapply(refits, function(one) fixef(one) - fixef(fit), numeric(p)))
  plain <- if (is.null(spec$weights)) lmer(spec$formula, data) else lmer(spec$formula, data, weights = w)
  lme4_change <- suppressMessages(suppressWarnings(dfbeta(influence(plain, groups = spec$delete))))
  list(
    group = scalar(spec$delete), levels = names(rows),
    held_observation = as_rows(single, p), held_level = as_rows(level, p),
    refit_level = as_rows(refit_change, p),
    refit_theta = unname(lapply(refits, function(one) unname(getME(one, "theta")))),
    refit_sigma = unname(vapply(refits, sigma, numeric(1))),
    lme4_levels = rownames(lme4_change), lme4_level = as_rows(lme4_change, p)
  )
}

# Nakagawa, Johnson and Schielzeth (2017), random slopes by Johnson (2014).
explained <- function(fit) {
  fixed <- var(drop(getME(fit, "X") %*% fixef(fit)))
  Z <- as.matrix(getME(fit, "Z"))
  Lambda <- as.matrix(getME(fit, "Lambda"))
  covariance <- sigma(fit)^2 * Lambda %*% t(Lambda)
  random <- mean(rowSums((Z %*% covariance) * Z))
  residual <- sigma(fit)^2
  total <- fixed + random + residual
  list(
    icc_adjusted = scalar(random / (random + residual)), icc_unadjusted = scalar(random / total),
    r2_marginal = scalar(fixed / total), r2_conditional = scalar((fixed + random) / total)
  )
}

frames <- function(tables) {
  lapply(tables, function(table) {
    list(levels = rownames(table), columns = names(table), values = matrix_rows(as.matrix(table)))
  })
}

for (spec in specs) {
  message(spec$dataset, " ", spec$name)
  fit <- polished_lmer(spec$formula, spec$data, TRUE, if (!is.null(spec$weights)) spec$data[[spec$weights]])$fit
  result <- list(
    dataset = scalar(spec$dataset), name = scalar(spec$name),
    formula = scalar(paste(deparse(spec$formula, width.cutoff = 500), collapse = " ")),
    weights = scalar(spec$weights), unbalanced = scalar(isTRUE(spec$unbalanced)),
    hatvalues = unname(hatvalues(fit)), cooks_distance = unname(cooks.distance(fit)),
    coef = frames(coef(fit)),
    ngrps = as.list(ngrps(fit)),
    Z = matrix_rows(as.matrix(getME(fit, "Z"))),
    Lambda = matrix_rows(as.matrix(getME(fit, "Lambda"))),
    theta = unname(getME(fit, "theta")), beta = unname(getME(fit, "beta")),
    b = as.vector(getME(fit, "b")), u = as.vector(getME(fit, "u")),
    n_rtrms = scalar(getME(fit, "n_rtrms")),
    cnms = lapply(unname(getME(fit, "cnms")), identity),
    cnms_names = names(getME(fit, "cnms")),
    repca = lapply(rePCA(fit), function(pca) pca$sdev),
    residuals = list(
      response = unname(residuals(fit, "response")), pearson = unname(residuals(fit, "pearson")),
      scaled = unname(residuals(fit, "pearson", scaled = TRUE)),
      deviance = unname(residuals(fit, "deviance"))
    ),
    explained = explained(fit)
  )
  result$ngrps <- lapply(result$ngrps, scalar)
  if (!is.null(spec$delete)) result$deletions <- deletions(spec, fit, spec$data)
  write_json(result, file.path(directory, paste0(spec$dataset, "-", spec$name, ".json")))
}
