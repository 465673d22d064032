#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "data/prepare.h"
#include "dist/host_map.h"
#include "dist/process_mesh.h"
#include "launch/options.h"

namespace mumoe::launch {

/// Makes `options.trainer.out` ready for a run: writes config.cfg and
/// provenance.json. Nothing to do when it is empty. Throws `InputError`: it
/// cannot be written, or it holds checkpoints and the run does not resume.
void prepare_run_directory(const Options& options,
                           const data::PreparedData& data,
                           const dist::ProcessMesh& mesh,
                           const dist::HostMap& hosts);

/// The settings that a resumed run must share with the run it resumes.
std::map<std::string, std::string> settings_that_matter(
    const Options& options,
    const data::PreparedData& data);

/// Throws `InputError` naming the first setting that differs, both values, and
/// what to do.
void check_resumable(const std::map<std::string, std::string>& stored,
                     const std::map<std::string, std::string>& now,
                     const std::filesystem::path& checkpoint);

}  // namespace mumoe::launch
