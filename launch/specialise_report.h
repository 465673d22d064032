#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/study_data.h"
#include "study/experts/focus.h"
#include "study/experts/removal.h"

namespace mumoe::launch {

/// A gate's removals, and what they say.
struct SpecialisedGate {
  study::Removal removal;
  study::Specialisation found;
};

/// What `mumoe study specialise` has looked at and found.
struct SpecialiseReport {
  std::string run;
  std::string checkpoint;
  std::int64_t step = 0;
  std::string model;
  bool text = false;  ///< Scores are log-likelihoods of tokens.
  std::string precision;
  std::string damage;  ///< As of --damage.
  bool checked = false;
  const StudyData& data;
  std::vector<SpecialisedGate> gates;
};

/// For a terminal; with a line feed.
std::string specialise_table(const SpecialiseReport& report,
                             std::size_t columns);
/// All of it, with a line feed; what is not known is null.
std::string specialise_json(const SpecialiseReport& report);

}  // namespace mumoe::launch
