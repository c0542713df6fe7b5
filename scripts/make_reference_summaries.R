#!/usr/bin/env Rscript
# lme4's summaries of some of its example fits, written as tests/data/summaries/<data set>-<fit>.txt.
#
#   Rscript scripts/make_reference_summaries.R [output directory]
#
# Needs R with lme4 and nlme. The fits are polished (scripts/polished_lmer.R), like the reference
# values whose names they bear.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "polished_lmer.R"))

arguments <- commandArgs(trailingOnly = TRUE)
directory <- if (length(arguments)) arguments[1] else file.path(dirname(script), "..", "tests/data/summaries")
dir.create(directory, recursive = TRUE, showWarnings = FALSE)

nlme_data <- function(name) {
  data(list = name, package = "nlme", envir = environment())
  data <- as.data.frame(unclass(get(name)), stringsAsFactors = FALSE)
  for (column in names(data)) {
    if (is.ordered(data[[column]])) data[[column]] <- factor(as.character(data[[column]]))
  }
  data
}

write_summary <- function(name, formula, data, reml, ...) {
  fit <- polished_lmer(formula, data, reml, ...)$fit
  text <- capture.output(print(summary(fit)))
  writeLines(text, file.path(directory, paste0(name, ".txt")))
}

sleepstudy$w <- 0.5 + (seq_len(nrow(sleepstudy)) * 7) %% 10 / 5
machines <- nlme_data("Machines")
orthodont <- nlme_data("Orthodont")

write_summary("sleepstudy-slope_reml", Reaction ~ Days + (Days | Subject), sleepstudy, TRUE)
write_summary("sleepstudy-independent_ml", Reaction ~ Days + (Days || Subject), sleepstudy, FALSE)
write_summary("sleepstudy-slope_weighted_ml", Reaction ~ Days + (Days | Subject), sleepstudy, FALSE,
              weights = sleepstudy$w)
write_summary("Penicillin-crossed_reml", diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin, TRUE)
write_summary("Dyestuff2-batch_reml", Yield ~ 1 + (1 | Batch), Dyestuff2, TRUE)
write_summary("cake-linear_interaction_reml", angle ~ recipe * temp + (1 | recipe:replicate), cake, TRUE)
write_summary("Machines-vector_reml", score ~ Machine + (Machine | Worker), machines, TRUE)
write_summary("Machines-nested_ml", score ~ Machine + (1 | Worker/Machine), machines, FALSE)
write_summary("Orthodont-slope_ml", distance ~ age + (age | Subject), orthodont, FALSE)
