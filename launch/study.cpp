#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "launch/commands.h"
#include "launch/study_call.h"
#include "run/command_line.h"

namespace mumoe::launch {

std::span<const Study> studies() {
  static const Study kStudies[] = {
      {"cost",
       "mumoe study cost: parameters, multiplications, memory and latency of a "
       "linear layer, of mixtures of matrices, dense and sparse, and of "
       "factorised ones, measured here. Needs no run.",
       study_cost_options,
       study_cost},
      {"domains",
       "mumoe study domains: what experts know of the source of a text, of a "
       "run on a mixture of sources: mutual information between bounds, and a "
       "linear classifier of the source from routing.",
       study_domains_options,
       study_domains},
      {"edit",
       "mumoe study edit: a new run whose experts are other ones: some taken "
       "out, kept alone or scaled, or a class's logit shifted by how an input "
       "is routed.",
       study_edit_options,
       study_edit},
      {"experts",
       "mumoe study experts: what each expert works at: the tokens, patches or "
       "images with its largest coefficients and some drawn among those that "
       "chose it, the tokens that it promotes, what its removal costs; as JSON "
       "and as one page to look through, with texts and images by the experts "
       "that worked at them.",
       study_experts_options,
       study_experts},
      {"load",
       "mumoe study load: how a run's gates use their experts: who is chosen, "
       "who is dead, how many a token mixes, how many evenly used experts that "
       "would be.",
       study_load_options,
       study_load},
      {"ranks",
       "mumoe study ranks: parameters, ranks and multiplications of a layer "
       "against its number of experts. Needs no run.",
       study_ranks_options,
       study_ranks},
      {"specialise",
       "mumoe study specialise: takes each expert out and says what that does "
       "to every class: how many classes an expert is for (polysemanticity), "
       "and what its removal costs. One pass through the model tells all "
       "experts of a head; of other mixtures, each is removed for a pass of "
       "its own.",
       study_specialise_options,
       study_specialise},
      {"bias",
       "mumoe study bias: corrects what a classifier decides about a "
       "subpopulation by its experts (the target's logit plus lambda times how "
       "alike a sample's coefficients and the subpopulation's are), beside no "
       "correction, oversampling, a blind threshold, an adversary and random "
       "experts: three measures of fairness, and what they cost.",
       study_bias_options,
       study_bias},
      {"svd",
       "mumoe study svd: what a run's loss and accuracy become when its weight "
       "matrices keep their largest singular values alone.",
       study_svd_options,
       study_svd},
  };
  return kStudies;
}

ExitCode study_command(const Invocation& invocation) {
  auto words = invocation.arguments;
  const std::string what = words.empty() ? "" : words.front();
  std::vector<std::string> names;
  for (const Study& study : studies()) names.emplace_back(study.name);
  const auto found = std::ranges::find(names, what);
  require(found != names.end(),
          "mumoe study{}{}: expected one of {}",
          what.empty() ? "" : " ",
          what,
          fmt::join(names, ", "));
  const Study& study =
      studies()[static_cast<std::size_t>(std::distance(names.begin(), found))];
  words.erase(words.begin());
  const run::CommandLine line =
      run::read_command_line(words, "parallel", study.options());
  return study.run(invocation, line);
}

}  // namespace mumoe::launch
