#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "launch/show_facts.h"
#include "run/command_line.h"
#include "study/report/study_page.h"

namespace mumoe::launch {

/// Where the findings of a study go, as --json FILE and --out FOLDER of `line`
/// say: tables to stdout and JSON to the file (-: JSON alone, to stdout), and a
/// page with its charts into the folder. Only rank 0 has one.
class FindingsOutput {
 public:
  /// Made before the work: what cannot be written is found now. Throws
  /// `InputError` with its name.
  FindingsOutput(const Invocation& invocation, const run::CommandLine& line);

  /// Whether this rank shows anything.
  explicit operator bool() const { return facts_.has_value(); }
  /// Once, on the rank that does. Throws `InputError` where a file cannot be
  /// written.
  void show(const study::StudyFindings& findings, const nlohmann::json& json);

 private:
  std::optional<FactsOutput> facts_;
  std::filesystem::path folder_;
};

/// Those two options.
std::vector<run::OwnOption> study_output_options();

}  // namespace mumoe::launch
