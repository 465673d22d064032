#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/asked_model.h"
#include "launch/study_data.h"
#include "run/command_line.h"
#include "study/experts/expert_study.h"

namespace mumoe::launch {

/// What `mumoe study experts` is asked for beside the data.
struct ExpertRequest {
  std::string run;
  study::ExamplePicker::Options pick;
  std::int64_t removal = 0;  ///< Samples; 0: not asked.
  std::int64_t shown = 4;
  std::vector<std::string> prompts;
  std::filesystem::path out, delphi;  ///< Folders; empty: none.
};
ExpertRequest read_expert_request(const run::CommandLine& line);

study::RunFacts expert_facts(const AskedRun& run,
                             const std::string& name,
                             const StudyData& data);

/// Asks a run: all samples for examples and load, those of the examples again
/// for what is about them, some of them without each expert, prompts. The same
/// on all ranks. Collective. Throws `InputError`.
study::ExpertStudy answer_experts(AskedRun& run,
                                  const run::CommandLine& line,
                                  const ExpertRequest& request);

}  // namespace mumoe::launch
