#!/usr/bin/env Rscript
# Profile and Wald intervals of lme4 fits, written as tests/data/profiles/intervals.json.
#
#   Rscript scripts/make_reference_profiles.R [output directory]
#
# Needs R with lme4. The profile takes small steps (delta = 0.05),
# so that interpolation between them does not show in the ninth digit.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "write_json.R"))
suppressPackageStartupMessages(library(lme4))

arguments <- commandArgs(trailingOnly = TRUE)
directory <- if (length(arguments)) {
  arguments[1]
} else {
  file.path(dirname(script), "..", "tests/data/profiles")
}
dir.create(directory, recursive = TRUE, showWarnings = FALSE)

control <- lmerControl(optCtrl = list(xtol_rel = 1e-12, ftol_abs = 1e-14, xtol_abs = 1e-12),
                       check.conv.singular = "ignore")
models <- list(
  list(dataset = "sleepstudy", data = sleepstudy, formula = Reaction ~ Days + (Days | Subject)),
  list(dataset = "sleepstudy", data = sleepstudy, formula = Reaction ~ Days + (1 | Subject)),
  list(dataset = "Dyestuff", data = Dyestuff, formula = Yield ~ 1 + (1 | Batch)),
  list(dataset = "Dyestuff2", data = Dyestuff2, formula = Yield ~ 1 + (1 | Batch)),
  list(dataset = "Penicillin", data = Penicillin,
       formula = diameter ~ 1 + (1 | plate) + (1 | sample))
)

table_of <- function(intervals) {
  list(names = rownames(intervals), lower = unname(intervals[, 1]), upper = unname(intervals[, 2]))
}

out <- lapply(models, function(model) {
  fit <- lmer(model$formula, model$data, REML = FALSE, control = control)
  curves <- profile(fit, delta = 0.05, maxpts = 2000, signames = FALSE, devtol = 1e-9)
  list(
    dataset = scalar(model$dataset),
    formula = scalar(deparse1(model$formula)),
    profile95 = table_of(confint(curves)),
    profile50 = table_of(confint(curves, level = 0.5)),
    wald95 = table_of(confint(fit, method = "Wald", oldNames = FALSE))
  )
})
write_json(list(lme4 = scalar(as.character(packageVersion("lme4"))), fits = out),
           file.path(directory, "intervals.json"))
