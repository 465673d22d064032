#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "run/command_line.h"
#include "study/report/study_page.h"

namespace mumoe::launch {

/// Shows what a study has found as --json FILE and --out FOLDER of `line` say:
/// as tables on stdout and JSON in the file (-: JSON alone, on stdout), and as
/// a page with its charts in the folder. Throws `InputError` where these cannot
/// be written.
void show_findings(const study::StudyFindings& findings,
                   const nlohmann::json& json,
                   const run::CommandLine& line);

/// Those two options.
std::vector<run::OwnOption> study_output_options();

}  // namespace mumoe::launch
