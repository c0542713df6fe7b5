#!/usr/bin/env Rscript
# Fits with what is known given, written as tests/data/known/{relationship,sigma}.json:
# covariances between levels (lme4's modular functions with Z replaced by Z L, as pedigreemm
# and lme4qtl do) and residual standard deviations (nlme, metafor).
#
#   Rscript scripts/make_reference_known.R [output directory]
#
# Needs R with lme4, nlme and metafor.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "write_json.R"))
suppressPackageStartupMessages({
  library(lme4)
  library(nlme)
  library(metafor)
})

arguments <- commandArgs(trailingOnly = TRUE)
directory <- if (length(arguments)) {
  arguments[1]
} else {
  file.path(dirname(script), "..", "tests/data/known")
}
dir.create(directory, recursive = TRUE, showWarnings = FALSE)

# ---- covariances between levels: decay^|i - j| between levels i and j in their order --------

decaying <- function(count, decay) decay^abs(outer(seq_len(count), seq_len(count), "-"))

related <- function(dataset, data, formula, decays, reml) {
  parts <- lFormula(formula, data, REML = reml,
                    control = lmerControl(check.conv.singular = "ignore"))
  terms <- parts$reTrms
  from <- terms$Gp
  roots <- list()
  for (k in seq_along(terms$cnms)) {
    group <- names(terms$cnms)[k]
    if (!group %in% names(decays)) next
    q <- length(terms$cnms[[k]])
    rows <- (from[k] + 1):from[k + 1]
    root <- t(chol(decaying(length(rows) / q, decays[[group]])))
    roots[[group]] <- root
    parts$reTrms$Zt[rows, ] <- kronecker(t(root), diag(q)) %*% as.matrix(terms$Zt[rows, ])
  }
  parts$reTrms$Zt <- as(parts$reTrms$Zt, "CsparseMatrix")
  criterion <- do.call(mkLmerDevfun, parts)
  opt <- optimizeLmer(criterion, optimizer = "bobyqa", control = list(rhoend = 1e-9))
  best <- opt$par
  for (round in 1:5) {
    best <- nlminb(best, criterion, lower = terms$lower,
                   control = list(rel.tol = 1e-15, x.tol = 1e-12, abs.tol = 0))$par
  }
  opt$par <- best
  opt$fval <- criterion(best)
  fit <- mkMerMod(environment(criterion), opt, parts$reTrms, fr = parts$fr)
  b <- environment(criterion)$pp$b(1)
  effects <- lapply(names(roots)[1], function(group) {
    k <- match(group, names(terms$cnms))
    q <- length(terms$cnms[[k]])
    rows <- (from[k] + 1):from[k + 1]
    as.vector(kronecker(roots[[group]], diag(q)) %*% b[rows])
  })[[1]]
  list(dataset = scalar(dataset), formula = scalar(deparse1(formula)), reml = scalar(reml),
       decay = lapply(decays, scalar), objective = scalar(opt$fval), theta = opt$par,
       sigma = scalar(sigma(fit)), fixef = unname(fixef(fit)),
       std_errors = unname(sqrt(diag(as.matrix(vcov(fit))))), ranef = effects)
}

models <- list(
  list("sleepstudy", sleepstudy, Reaction ~ Days + (1 | Subject), list(Subject = 0.6)),
  list("sleepstudy", sleepstudy, Reaction ~ Days + (Days | Subject), list(Subject = 0.3)),
  list("Penicillin", Penicillin, diameter ~ 1 + (1 | plate) + (1 | sample), list(plate = 0.5)),
  list("Dyestuff", Dyestuff, Yield ~ 1 + (1 | Batch), list(Batch = 0.4))
)
fits <- list()
for (model in models) {
  for (reml in c(TRUE, FALSE)) {
    fits[[length(fits) + 1]] <- do.call(related, c(model, reml = reml))
  }
}
write_json(list(lme4 = scalar(as.character(packageVersion("lme4"))), fits = fits),
           file.path(directory, "relationship.json"))

# ---- residual standard deviations ---------------------------------------------------------

known <- function(dataset, data, fixed, random, formula, sigma, method) {
  fit <- lme(fixed, data, random, method = method,
             control = lmeControl(sigma = sigma, msTol = 1e-12, tolerance = 1e-12,
                                  msMaxIter = 500, opt = "optim"))
  list(dataset = scalar(dataset), formula = scalar(formula), reml = scalar(method == "REML"),
       sigma = scalar(sigma), objective = scalar(-2 * as.numeric(logLik(fit))),
       sd = unname(as.numeric(VarCorr(fit)[seq_len(ncol(ranef(fit))), "StdDev"])),
       fixef = unname(fixef(fit)), std_errors = unname(sqrt(diag(vcov(fit)))))
}
# by ML only: nlme's REML with sigma given does not maximise the restricted likelihood at that
# sigma (metafor's does, below)
fits <- list(
  known("sleepstudy", sleepstudy, Reaction ~ Days, ~ 1 | Subject,
        "Reaction ~ Days + (1 | Subject)", 30, "ML"),
  known("sleepstudy", sleepstudy, Reaction ~ Days, ~ Days | Subject,
        "Reaction ~ Days + (Days | Subject)", 20, "ML"),
  known("Dyestuff", Dyestuff, Yield ~ 1, ~ 1 | Batch, "Yield ~ 1 + (1 | Batch)", 60, "ML")
)

trials <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
studies <- data.frame(trial = trials$trial, yi = as.numeric(trials$yi), vi = as.numeric(trials$vi),
                      ablat = trials$ablat)
meta <- list()
for (method in c("REML", "ML")) {
  for (moderators in list(~ 1, ~ ablat)) {
    fit <- rma(yi, vi, mods = moderators, data = studies, method = method,
               control = list(threshold = 1e-12, maxiter = 1000))
    x <- model.matrix(moderators, studies)
    # metafor's restricted likelihood has log|X'X| in it
    shift <- if (method == "REML") as.numeric(determinant(crossprod(x))$modulus) else 0
    meta[[length(meta) + 1]] <- list(
      moderators = scalar(deparse1(moderators)), reml = scalar(method == "REML"),
      objective = scalar(-2 * as.numeric(logLik(fit)) + shift), tau2 = scalar(fit$tau2),
      fixef = as.vector(fit$beta), std_errors = fit$se)
  }
}
write_json(list(nlme = scalar(as.character(packageVersion("nlme"))),
                metafor = scalar(as.character(packageVersion("metafor"))),
                fits = fits, studies = as.list(studies), meta = meta),
           file.path(directory, "sigma.json"))
