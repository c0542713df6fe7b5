#!/usr/bin/env Rscript
# Reference fits of R's lm, with its tables and printed summaries, written as
# tests/data/lm/<data set>.{csv,json}; drop1 of lme4 and formulas of update() as lmer.json, update.json.
#
#   Rscript scripts/make_reference_lm.R [output directory]
#
# Needs R with lme4 and car.

suppressPackageStartupMessages({
  library(lme4)
  library(car)
})
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "write_json.R"))
source(file.path(dirname(script), "polished_lmer.R"))
options(width = 80, useFancyQuotes = TRUE)

arguments <- commandArgs(trailingOnly = TRUE)
directory <- if (length(arguments)) arguments[1] else file.path(dirname(script), "..", "tests/data/lm")
dir.create(directory, recursive = TRUE, showWarnings = FALSE)

short_weights <- function(n) 0.5 + (seq_len(n) * 7) %% 10 / 5
sleepstudy$w <- short_weights(nrow(sleepstudy))
sleepstudy$shift <- (seq_len(nrow(sleepstudy)) * 3) %% 11
cake$temperature <- NULL
cake$replicate <- factor(cake$replicate)
cake$recipe <- factor(cake$recipe)
Penicillin$w <- short_weights(nrow(Penicillin))
cars <- mtcars
cars$w <- short_weights(nrow(cars))
cars$w[5] <- 0
gaps <- mtcars
gaps$hp[c(3, 17)] <- NA
gaps$mpg[8] <- NA
uneven <- warpbreaks[seq_len(nrow(warpbreaks))^2 %% 7 > 0, ]

# A fit: its name, the formula, the column of weights, contrasts by column.
fit_of <- function(name, formula, weights = NULL, contrasts = NULL) {
  list(name = name, formula = formula, weights = weights, contrasts = contrasts)
}
both_sum <- list(wool = "contr.sum", tension = "contr.sum")
datasets <- list(
  sleepstudy = list(data = sleepstudy, fits = list(
    fit_of("days", Reaction ~ Days),
    fit_of("weighted", Reaction ~ Days, weights = "w"),
    fit_of("offset", Reaction ~ Days + offset(shift)),
    fit_of("weighted_offset", Reaction ~ Days + Subject + offset(shift), weights = "w")
  )),
  cake = list(data = cake, fits = list(
    fit_of("additive", angle ~ recipe + temp),
    fit_of("interaction", angle ~ recipe * temp),
    fit_of("replicate", angle ~ recipe * temp + replicate)
  )),
  warpbreaks = list(data = warpbreaks, fits = list(
    fit_of("interaction", breaks ~ wool * tension),
    fit_of("interaction_sum", breaks ~ wool * tension, contrasts = both_sum),
    fit_of("log", log(breaks) ~ wool + tension),
    fit_of("wool", breaks ~ wool)
  )),
  uneven = list(data = uneven, fits = list(
    fit_of("additive", breaks ~ wool + tension),
    fit_of("interaction", breaks ~ wool * tension),
    fit_of("interaction_sum", breaks ~ wool * tension, contrasts = both_sum)
  )),
  mtcars = list(data = cars, fits = list(
    fit_of("constant", mpg ~ 1),
    fit_of("weight", mpg ~ wt),
    fit_of("two", mpg ~ wt + hp),
    fit_of("crossed", mpg ~ wt * hp + factor(cyl)),
    fit_of("weighted", mpg ~ wt + hp + factor(cyl) + offset(0.1 * qsec), weights = "w"),
    fit_of("aliased", mpg ~ wt + hp + I(wt + 2 * hp) + qsec),
    fit_of("aliased_interaction", mpg ~ factor(cyl) * factor(carb)),
    fit_of("basis", mpg ~ poly(hp, 2) + log(wt)),
    fit_of("no_intercept", mpg ~ 0 + factor(cyl) + wt),
    fit_of("three_way", mpg ~ wt * hp * factor(am))
  )),
  gaps = list(data = gaps, fits = list(fit_of("missing", mpg ~ wt + hp + factor(cyl)))),
  few = list(data = mtcars[1:6, ], fits = list(fit_of("weight", mpg ~ wt))),
  Penicillin = list(data = Penicillin, fits = list(
    fit_of("crossed", diameter ~ plate + sample),
    fit_of("weighted", diameter ~ sample, weights = "w")
  ))
)
# Sequences of nested models of one data set, compared by F tests.
sequences <- list(
  mtcars = list(c("weight", "two", "crossed"), c("two", "crossed")),
  cake = list(c("additive", "interaction", "replicate")),
  uneven = list(c("additive", "interaction"))
)

# Some functions evaluate a fit's call again, where they find the data under this name.
current_data <- NULL

fit_lm <- function(spec, data) {
  current_data <<- data
  call <- list(as.name("lm"), formula = spec$formula, data = quote(current_data))
  if (!is.null(spec$weights)) call$weights <- as.name(spec$weights)
  if (!is.null(spec$contrasts)) call$contrasts <- spec$contrasts
  eval(as.call(call))
}

table_of <- function(aod) {
  c(list(rows = rownames(aod)), lapply(as.list(as.data.frame(aod)), as.numeric))
}

interval <- function(fit, ...) {
  table <- suppressWarnings(predict(fit, ...))
  list(fit = unname(table[, 1]), lwr = unname(table[, 2]), upr = unname(table[, 3]))
}

reference_lm <- function(spec, data) {
  fit <- fit_lm(spec, data)
  # R 4.2 leaves the offset in the sum of squares that R^2 and F are about: take it off
  without_offset <- fit
  if (!is.null(fit$offset)) without_offset$fitted.values <- fit$fitted.values - fit$offset
  told <- summary(without_offset)
  table <- coef(told)
  new <- head(na.omit(data), 4)
  rank_deficient <- anyNA(coef(fit))
  has_terms <- length(attr(terms(fit), "term.labels")) > 0
  used <- if (is.null(spec$weights)) rep(TRUE, length(residuals(fit))) else fit$weights > 0
  of_used <- function(values) unname(values[names(residuals(fit))[used]]) # without weight 0
  result <- list(
    name = scalar(spec$name),
    formula = scalar(paste(deparse(spec$formula, width.cutoff = 500), collapse = " ")),
    weights = scalar(spec$weights),
    contrasts = if (!is.null(spec$contrasts)) lapply(spec$contrasts, scalar),
    names = names(coef(fit)), coef = unname(coef(fit)),
    estimable = rownames(table), std_errors = unname(table[, 2]), t = unname(table[, 3]),
    p = unname(table[, 4]), vcov = matrix_rows(vcov(fit, complete = FALSE)),
    sigma = scalar(told$sigma), df_resid = scalar(fit$df.residual), n_obs = scalar(nobs(fit)),
    r_squared = scalar(told$r.squared), adj_r_squared = scalar(told$adj.r.squared),
    f_statistic = if (!is.null(told$fstatistic)) c(unname(told$fstatistic), pf(
      told$fstatistic[[1]], told$fstatistic[[2]], told$fstatistic[[3]], lower.tail = FALSE)),
    loglik = scalar(as.numeric(logLik(fit))), aic = scalar(AIC(fit)), bic = scalar(BIC(fit)),
    fitted = of_used(fitted(fit)), residuals = of_used(residuals(fit)),
    pearson = of_used(residuals(fit, "pearson")),
    standardized = of_used(rstandard(fit)), studentized = of_used(rstudent(fit)),
    hat = of_used(hatvalues(fit)), cooks = of_used(cooks.distance(fit)),
    confint = matrix_rows(confint(fit)), confint90 = matrix_rows(confint(fit, level = 0.9)),
    summary = gsub("\t", " ", capture.output(print(told))), # JSON strings hold no bare tab
    anova = table_of(anova(fit))
  )
  if (!rank_deficient) {
    result$predict_rows <- rownames(new)
    result$predict_se <- unname(predict(fit, new, se.fit = TRUE)$se.fit)
    result$predict_confidence <- interval(fit, new, interval = "confidence")
    result$predict_prediction <- interval(fit, new, interval = "prediction", level = 0.8)
    result$own_prediction <- lapply(interval(fit, interval = "prediction"), function(x) x[used])
  }
  if (has_terms) {
    # without the weight-0 row: its count enters R's AIC
    if (!is.null(spec$weights)) data <- data[data[[spec$weights]] > 0, ]
    data <- data[complete.cases(data), ]
    fit <- fit_lm(spec, data)
    result$anova_2 <- table_of(Anova(fit, type = 2))
    if (!rank_deficient) result$anova_3 <- table_of(Anova(fit, type = 3))
    result$drop1 <- table_of(drop1(fit))
    result$drop1_chisq <- table_of(drop1(fit, test = "Chisq"))
    result$drop1_f <- table_of(drop1(fit, test = "F"))
  }
  Filter(Negate(is.null), result)
}

versions <- list(
  R = scalar(as.character(getRversion())), lme4 = scalar(as.character(packageVersion("lme4"))),
  car = scalar(as.character(packageVersion("car")))
)
for (name in names(datasets)) {
  message(name)
  entry <- datasets[[name]]
  write.csv(entry$data, file.path(directory, paste0(name, ".csv")), na = "", quote = FALSE)
  compared <- lapply(sequences[[name]], function(sequence) {
    specs <- Filter(function(spec) spec$name %in% sequence, entry$fits)
    fits <- lapply(specs, fit_lm, data = entry$data)
    list(fits = sequence, table = table_of(do.call(anova, fits)))
  })
  factors <- lapply(Filter(is.factor, entry$data), levels)
  content <- list(
    dataset = scalar(name), versions = versions,
    fits = lapply(entry$fits, reference_lm, data = entry$data)
  )
  if (length(factors)) content$levels <- factors
  if (length(compared)) content$comparisons <- compared
  write_json(content, file.path(directory, paste0(name, ".json")))
}

# ---- drop1 of mixed models -------------------------------------------------------------------

# drop1 as lme4 defines it (AIC of ML fits), on fits polished to the optimum.
drop1_lmer <- function(name, formula, data, file, weights = NULL) {
  used <- if (is.null(weights)) NULL else data[[weights]]
  one <- function(f) {
    fit <- polished_lmer(f, data, FALSE, used)$fit
    c(npar = attr(logLik(fit), "df"), aic = AIC(fit))
  }
  dropped <- drop.scope(terms(nobars(formula)))
  smaller <- lapply(dropped, function(term) update(formula, paste(". ~ . -", term)))
  numbers <- rbind(one(formula), do.call(rbind, lapply(smaller, one)))
  lrt <- (numbers[, 2] - 2 * numbers[, 1]) - (numbers[1, 2] - 2 * numbers[1, 1])
  df <- numbers[1, 1] - numbers[, 1]
  df[1] <- lrt[1] <- NA
  call <- list(as.name("lmer"), formula = formula, data = data)
  if (!is.null(weights)) call$weights <- as.name(weights)
  theirs <- drop1(eval(as.call(call)), test = "Chisq")
  stopifnot(
    rownames(theirs) == c("<none>", dropped),
    max(abs(theirs$AIC - numbers[, 2])) < 1e-4, all(theirs$npar[-1] == df[-1])
  )
  list(
    name = scalar(name), dataset = scalar(file), weights = scalar(weights),
    formula = scalar(paste(deparse(formula, width.cutoff = 500), collapse = " ")),
    rows = c("<none>", dropped), npar = unname(df), AIC = unname(numbers[, 2]),
    LRT = unname(lrt), p = unname(pchisq(lrt, df, lower.tail = FALSE))
  )
}
write_json(list(versions = versions, fits = list(
  drop1_lmer("slope", Reaction ~ Days + (Days | Subject), sleepstudy, "sleepstudy"),
  drop1_lmer("weighted_offset", Reaction ~ Days + offset(shift) + (1 | Subject), sleepstudy, "sleepstudy", "w"),
  drop1_lmer("additive", angle ~ recipe + temp + (1 | recipe:replicate), cake, "cake"),
  drop1_lmer("interaction", angle ~ recipe * temp + (1 | recipe:replicate), cake, "cake")
)), file.path(directory, "drop1_lmer.json"))

# ---- update.formula --------------------------------------------------------------------------

updates <- list(
  c("y ~ x", ". ~ . + z"), c("y ~ x", "~ . + z"), c("y ~ x + z", ". ~ . - z"),
  c("y ~ x", ". ~ . * z"), c("y ~ x * z", ". ~ . - x:z"), c("y ~ x + z", ". ~ .^2"),
  c("y ~ x", "log(.) ~ ."), c("y ~ x", "log(.) ~ . + I(x^2)"), c("y ~ x", "w ~ ."),
  c("y ~ x", ". ~ z"), c("y ~ x", "~ . - 1"), c("y ~ x - 1", ". ~ . + z"), c("y ~ x - 1", ". ~ . + 1"),
  c("y ~ x", "~ 1"), c("y ~ x", ". ~ . - x"), c("y ~ x", ". ~ . - nothing"),
  c("y ~ a + b", ". ~ .:c"), c("y ~ a * b * c", ". ~ . - a:b:c"), c("y ~ a/b", ". ~ ."),
  c("sqrt(y) ~ x", ". ~ . + z"), c("y ~ x", ". ~ log(.)"), c("y ~ log(x)", ". ~ . + log(z)"),
  c("y ~ x + offset(o)", ". ~ . + z"), c("y ~ a + b + c", ". ~ . - (a + b)")
)
write_json(lapply(updates, function(pair) {
  updated <- update.formula(as.formula(pair[1]), as.formula(pair[2]))
  list(
    old = scalar(pair[1]), new = scalar(pair[2]),
    result = scalar(paste(deparse(updated, width.cutoff = 500), collapse = " "))
  )
}), file.path(directory, "update.json"))
