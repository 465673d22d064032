#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "study/experts/expert_edit.h"

namespace mumoe::study {

/// A run whose experts are to be edited.
struct EditRequest {
  std::filesystem::path from;   ///< A run directory.
  std::string checkpoint = {};  ///< As `run::open_run` takes it.
  std::filesystem::path to;     ///< Not there yet, or an empty folder.
  /// As `gates_of` calls it, or of several levels the mixture and a level;
  /// empty: the only one that there is.
  std::string gate = {};
  int level = -1;  ///< Of that mixture; -1: it has one.
  ExpertEdit edit = {};
  LogitShift shift = {};  ///< Of no class: none.
};

/// Throws `InputError` where `to` is there and no empty folder.
void require_new_run(const std::filesystem::path& to);

/// Writes the edited run, as a run that has done no step: the rows of expert n
/// of that level, in all layers of the mixture, multiplied, which gives what
/// `MuMoEBlock::scale_expert` does to a model; then the shift. No optimizer's
/// state: training goes on from it by train.from. What was done stands in its
/// provenance.json. Returns lines to say. Throws `InputError`, with nothing
/// left.
std::vector<std::string> write_edited_run(const EditRequest& request);

}  // namespace mumoe::study
