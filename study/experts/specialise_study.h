#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "study/scale/scale_study.h"

namespace mumoe::study {

/// One head that is trained.
struct SpecialiseCell {
  StudyCell cell;            ///< "cp-64-entmax15-batch/seed-1"
  std::string head;          ///< linear, high_rank, cp, ...
  std::int64_t experts = 0;  ///< 0: a linear head.
  std::string gate = {};
  std::string norm = {};
  std::int64_t seed = 0;
  std::int64_t parameters = 0;
};

/// Polysemanticity and accuracy over the number of experts, of heads that all
/// have as many parameters, beside linear ones.
struct SpecialiseStudy {
  ScaleStudy common;  ///< Name, file, configuration, minutes; no cells.
  std::string damage = "change";
  std::int64_t budget = 0;  ///< Parameters of all heads but the linear one.
  std::vector<SpecialiseCell> cells;  ///< In the order in which they are run.
};

/// Reads a study of specialisation: an object with
///
///   features  a folder of features [the settings' data.source]
///   experts   [8, 16, ...] of the heads, ascending
///   rank      of the heads with most experts: their parameters are those of
///             all heads with experts and of the high-rank one
///   head      cp, tr, tt or tucker [cp]
///   gates     [entmax15, softmax], or one of them [both]
///   norms     [batch, layer, none], or some [batch]
///   beside    [linear, high_rank], or some [both]
///   seeds     [1]
///   name      [that of the file]
///   config    a configuration file [the default recipe]
///   settings  {key of a run: value} for all heads [none]
///   layout    {dp, tp, ...} of all runs [1 rank]
///   damage    change or drop, as of mumoe study specialise [change]
///   minutes   that training one head may take, and looking at it [10]
///
/// Every cell's options are resolved, and `check` is asked of it. `features`:
/// in place of the file's; empty: the file's. Throws `InputError`: file, where
/// in it, what was expected.
SpecialiseStudy read_specialise_study(const std::filesystem::path& file,
                                      const std::string& features,
                                      const CheckCell& check = {});

}  // namespace mumoe::study
