#!/usr/bin/env Rscript
# lme4 on its own sleepstudy data: prints a JSON list of seconds to load the package, of the
# first call and (median) of a later one, and the REML criterion.
#
#   Rscript benchmarks/peers/lme4_small.R "Reaction ~ Days + (1 | Subject)" 20

now <- function() as.numeric(Sys.time())
arguments <- commandArgs(trailingOnly = TRUE)
began <- now()
suppressPackageStartupMessages(library(lme4))
loaded <- now() - began
formula <- as.formula(arguments[1])
times <- replicate(as.integer(arguments[2]) + 1, {
  began <- now()
  fit <<- lmer(formula, sleepstudy)
  now() - began
})
cat(sprintf("[%.6f, %.6f, %.6f, %.17g]\n", loaded, times[1], median(times[-1]), REMLcrit(fit)))
