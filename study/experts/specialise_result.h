#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "study/scale/results_file.h"

namespace mumoe::study {

/// One trained head of a study of specialisation: one line of its
/// results.jsonl.
struct SpecialiseResult {
  std::string study = {};
  std::string run = {};      ///< Its name: "cp-64-entmax15-batch/seed-1".
  std::string head = {};     ///< linear, high_rank, cp, ...
  std::int64_t experts = 0;  ///< 0: none, a linear head.
  std::string gate = {};     ///< entmax15, softmax, ...; empty: none.
  std::string norm = {};     ///< batch, layer, none; empty: no gate.
  std::int64_t seed = 0;
  int dp = 1;
  int tp = 1;
  std::int64_t parameters = 0;
  std::int64_t steps = 0;
  double accuracy = 0;  ///< Of validation, a share; as `train` has it.
  double loss = 0;      ///< Of validation, nats.
  /// Mean over experts and its 90 % interval over them; NaN: there is none.
  double polysemanticity = 0;
  double low = 0;
  double high = 0;
  std::int64_t skipped = 0;  ///< Experts without damage,
  std::int64_t dead = 0;     ///< of these, those that no sample used.
  double train_s = 0;        ///< Of both programs, start and end included.
  double study_s = 0;
  std::string command = {};   ///< What was trained.
  std::string version = {};   ///< Of the program.
  std::string finished = {};  ///< UTC in ISO 8601.
  /// Why it did not come to its end, one line; empty: it did.
  std::string failed = {};
  int code = 0;  ///< What the one that failed ended with.
};

/// One line of JSON without its end; null for what is not finite.
std::string to_json(const SpecialiseResult& result);

/// What `line` says. Throws `InputError` that begins with `where` (file and
/// line) and names the member that is missing or of another type.
SpecialiseResult specialise_from_json(std::string_view line,
                                      const std::string& where);

using SpecialiseFolder = ResultsFolder<SpecialiseResult, specialise_from_json>;

}  // namespace mumoe::study
