#!/usr/bin/env Rscript
# Reference fits of lme4's and nlme's example data, written as tests/data/lme4/<data set>.{csv,json}.
#
#   Rscript scripts/make_reference_values.R [output directory]
#
# Needs R with lme4 and nlme. Every fit is polished (scripts/polished_lmer.R), so the values are the
# optimum to rounding, not what lme4's default optimiser returns; that is recorded beside them.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "polished_lmer.R"))
source(file.path(dirname(script), "write_json.R"))

arguments <- commandArgs(trailingOnly = TRUE)
directory <- if (length(arguments)) arguments[1] else file.path(dirname(script), "..", "tests/data/lme4")
dir.create(directory, recursive = TRUE, showWarnings = FALSE)

nlme_data <- function(name) {
  data(list = name, package = "nlme", envir = environment())
  as.data.frame(unclass(get(name)), stringsAsFactors = FALSE)
}

# Prior weights of a few distinct sizes, and an offset, that are short decimals in the CSV.
short_weights <- function(n) 0.5 + (seq_len(n) * 7) %% 10 / 5
short_offset <- function(n) (seq_len(n) * 3) %% 11

sleepstudy$w <- short_weights(nrow(sleepstudy))
sleepstudy$shift <- short_offset(nrow(sleepstudy))
Penicillin$w <- short_weights(nrow(Penicillin))
unbalanced_penicillin <- Penicillin[seq_len(nrow(Penicillin))^2 %% 11 > 3, ]

# Ratings that 40 busy lecturers got from 170 students: unbalanced, crossed, with the
# department above the lecturers.
busy <- names(sort(-table(InstEval$d)))[1:40]
ratings <- droplevels(subset(InstEval, d %in% busy & as.integer(as.character(s)) <= 170))

# A data set: its name, the data, where they come from, and formulas. A fit may differ from its
# formula in Python (`python`) where R takes a contrast from the column's type.
fit_of <- function(name, formula, weights = NULL, python = NULL) {
  list(name = name, formula = formula, weights = weights, python = python)
}
datasets <- list(
  sleepstudy = list(data = sleepstudy, source = "lme4: sleepstudy (Belenky et al. 2003)", fits = list(
    fit_of("slope", Reaction ~ Days + (Days | Subject)),
    fit_of("independent", Reaction ~ Days + (Days || Subject)),
    fit_of("intercept", Reaction ~ Days + (1 | Subject)),
    fit_of("slope_weighted", Reaction ~ Days + (Days | Subject), weights = "w"),
    fit_of("intercept_weighted_offset", Reaction ~ Days + offset(shift) + (1 | Subject), weights = "w"),
    fit_of("slope_offset", Reaction ~ Days + offset(shift) + (Days | Subject))
  )),
  Dyestuff = list(data = Dyestuff, source = "lme4: Dyestuff (Davies 1947)", fits = list(
    fit_of("batch", Yield ~ 1 + (1 | Batch))
  )),
  Dyestuff2 = list(data = Dyestuff2, source = "lme4: Dyestuff2 (Box and Tiao 1973)", fits = list(
    fit_of("batch", Yield ~ 1 + (1 | Batch))
  )),
  Penicillin = list(data = Penicillin, source = "lme4: Penicillin (Davies 1972)", fits = list(
    fit_of("crossed", diameter ~ 1 + (1 | plate) + (1 | sample)),
    fit_of("crossed_weighted", diameter ~ 1 + (1 | plate) + (1 | sample), weights = "w")
  )),
  PenicillinUnbalanced = list(
    data = unbalanced_penicillin, source = "lme4: Penicillin, rows with row^2 mod 11 > 3",
    fits = list(
      fit_of("crossed", diameter ~ 1 + (1 | plate) + (1 | sample)),
      fit_of("crossed_weighted", diameter ~ 1 + (1 | plate) + (1 | sample), weights = "w")
    )
  ),
  Pastes = list(data = Pastes, source = "lme4: Pastes (Davies 1972)", fits = list(
    fit_of("nested", strength ~ 1 + (1 | batch / cask)),
    fit_of("sample_batch", strength ~ 1 + (1 | sample) + (1 | batch)),
    fit_of("sample", strength ~ 1 + (1 | sample))
  )),
  cake = list(data = cake, source = "lme4: cake (Cook 1938; Cochran and Cox 1957)", fits = list(
    fit_of("interaction", angle ~ recipe * temperature + (1 | recipe:replicate),
      python = "angle ~ recipe * C(temperature, Poly) + (1 | recipe:replicate)"),
    fit_of("additive", angle ~ recipe + temperature + (1 | recipe:replicate),
      python = "angle ~ recipe + C(temperature, Poly) + (1 | recipe:replicate)"),
    fit_of("linear", angle ~ recipe + temp + (1 | recipe:replicate)),
    fit_of("linear_interaction", angle ~ recipe * temp + (1 | recipe:replicate)),
    # badly scaled and singular: lme4's default optimiser stops 0.1 short
    fit_of("singular_slope", angle ~ recipe + temp + (temp | recipe:replicate))
  )),
  Orthodont = list(data = nlme_data("Orthodont"), source = "nlme: Orthodont (Potthoff and Roy 1964)", fits = list(
    fit_of("slope", distance ~ age + (age | Subject)),
    fit_of("slope_sex", distance ~ age * Sex + (age | Subject)),
    fit_of("intercept_sex", distance ~ age * Sex + (1 | Subject)),
    fit_of("slope_only", distance ~ age + (0 + age | Subject))
  )),
  Oats = list(data = nlme_data("Oats"), source = "nlme: Oats (Yates 1935)", fits = list(
    fit_of("nested", yield ~ nitro + (1 | Block / Variety)),
    fit_of("nested_interaction", yield ~ Variety * nitro + (1 | Block / Variety)),
    fit_of("singular_slope", yield ~ nitro + (nitro | Block)),
    fit_of("singular_nested_slope", yield ~ nitro + (nitro | Block / Variety))
  )),
  Machines = list(data = nlme_data("Machines"), source = "nlme: Machines (Milliken and Johnson 1992)", fits = list(
    fit_of("intercept", score ~ Machine + (1 | Worker)),
    fit_of("nested", score ~ Machine + (1 | Worker / Machine)),
    fit_of("vector", score ~ Machine + (Machine | Worker)),
    fit_of("vector_cell", score ~ Machine + (0 + Machine | Worker))
  )),
  InstEvalSubset = list(
    data = ratings, source = "lme4: InstEval, the 40 lecturers with most ratings, students 1 to 170",
    fits = list(
      fit_of("crossed", y ~ service + (1 | s) + (1 | d)),
      fit_of("crossed_three", y ~ service + (1 | s) + (1 | d) + (1 | dept))
    )
  )
)

column_kinds <- function(data) {
  lapply(data, function(column) {
    if (is.factor(column)) list(kind = if (is.ordered(column)) "ordered" else "factor", levels = levels(column))
    else list(kind = if (is.integer(column)) "integer" else "number")
  })
}

# Values of the objective away from the optimum: zero, the optimum's neighbourhood, and far.
probe_thetas <- function(theta, diagonal) {
  k <- length(theta)
  wave <- sin(1.7 * seq_len(k))
  list(
    numeric(k), as.numeric(diagonal), theta + 0.05 * wave, 2 * theta + 0.1,
    ifelse(diagonal, 0.4 + 0.3 * abs(wave), 0.5 * wave), 4 + wave
  )
}

random_effects <- function(fit) {
  table <- as.data.frame(ranef(fit, condVar = TRUE))
  lapply(split(table, factor(table$grpvar, unique(table$grpvar))), function(rows) {
    list(
      level = as.character(rows$grp), term = as.character(rows$term),
      mode = rows$condval, cond_sd = rows$condsd
    )
  })
}

reference_fit <- function(spec, data, reml) {
  weights <- if (is.null(spec$weights)) NULL else data[[spec$weights]]
  polished <- polished_lmer(spec$formula, data, reml, weights)
  fit <- polished$fit
  stopifnot(
    max(abs(polished$score)) < 1e-8,
    polished$objective <= polished$default_objective + 1e-9,
    abs(-2 * as.numeric(logLik(fit)) - polished$objective) < 1e-8
  )
  first <- ranef(fit, condVar = TRUE)[[1]]
  cond_var <- attr(first, "postVar")
  components <- as.data.frame(VarCorr(fit))
  probes <- probe_thetas(polished$theta, getME(fit, "lower") == 0)
  formula <- paste(deparse(spec$formula, width.cutoff = 500), collapse = " ")
  result <- list(
    name = scalar(paste0(spec$name, if (reml) "_reml" else "_ml")),
    formula = scalar(formula),
    python_formula = scalar(if (is.null(spec$python)) formula else spec$python),
    reml = scalar(reml),
    weights = scalar(spec$weights),
    n_obs = scalar(nobs(fit)),
    objective = scalar(polished$objective),
    default_objective = scalar(polished$default_objective),
    theta = polished$theta,
    theta_names = names(getME(fit, "theta")),
    singular = scalar(isSingular(fit)),
    max_abs_score = scalar(max(abs(polished$score))),
    hessian = matrix_rows(polished$hessian),
    sigma = scalar(sigma(fit)),
    fixef_names = names(fixef(fit)),
    fixef = unname(fixef(fit)),
    std_errors = unname(sqrt(diag(as.matrix(vcov(fit))))),
    vcov = matrix_rows(as.matrix(vcov(fit))),
    loglik = scalar(as.numeric(logLik(fit))),
    df = scalar(attr(logLik(fit), "df")),
    aic = scalar(AIC(fit)),
    bic = scalar(BIC(fit)),
    varcorr = list(
      group = components$grp, name1 = components$var1, name2 = components$var2,
      vcov = components$vcov, sdcor = components$sdcor
    ),
    ranef = random_effects(fit),
    fitted_head = unname(head(fitted(fit))),
    residuals_head = unname(head(residuals(fit))),
    probes = lapply(probes, function(theta) {
      list(theta = theta, objective = scalar(polished$devfun(theta)))
    })
  )
  if (is.array(cond_var) && dim(cond_var)[1] > 1) { # levels x effects x effects
    result$cond_var <- lapply(seq_len(dim(cond_var)[3]), function(j) matrix_rows(cond_var[, , j]))
  }
  result
}

versions <- list(
  R = scalar(as.character(getRversion())),
  lme4 = scalar(as.character(packageVersion("lme4"))),
  nlme = scalar(as.character(packageVersion("nlme")))
)
for (name in names(datasets)) {
  entry <- datasets[[name]]
  write.csv(entry$data, file.path(directory, paste0(name, ".csv")), row.names = FALSE, quote = FALSE)
  fits <- list()
  for (spec in entry$fits) {
    for (reml in c(TRUE, FALSE)) {
      message(name, " ", spec$name, if (reml) " REML" else " ML")
      fits <- c(fits, list(reference_fit(spec, entry$data, reml)))
    }
  }
  write_json(
    list(
      dataset = scalar(name), source = scalar(entry$source), versions = versions,
      columns = lapply(column_kinds(entry$data), function(column) {
        column$kind <- scalar(column$kind)
        column
      }),
      fits = fits
    ),
    file.path(directory, paste0(name, ".json"))
  )
}
