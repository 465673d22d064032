#pragma once

#include <string>
#include <vector>

#include "launch/asked_model.h"
#include "launch/bias_report.h"
#include "run/command_line.h"
#include "study/experts/fairness.h"

namespace mumoe::launch {

/// What `mumoe study bias` is asked, before anything is read.
struct BiasQuestion {
  std::string target;  ///< A class; empty: the second of two.
  std::string group;   ///< An attribute.
  study::Subgroup subpopulation;
  study::Choice choice;
  std::vector<double> lambdas;  ///< Empty: the usual ones.
  double adversary = 1;
  bool retrain = true;
};

/// Looks at training and validation samples as `study_data_options` of `line`
/// say, corrects what the model of `run` decides by each technique, and says
/// how fair that is. Collective. Throws `InputError`: a language model, a model
/// without experts, samples without attributes or of which a subgroup has none,
/// a class, an attribute or a gate that there is not.
BiasReport study_of_bias(AskedRun& run,
                         const run::CommandLine& line,
                         const BiasQuestion& asked);

}  // namespace mumoe::launch
