#pragma once

#include <filesystem>
#include <string>

#include "base/file_lock.h"

namespace mumoe::data {

/// Takes the lock on `path`. Where it has to wait, says so in a line on stderr:
/// "waiting for process 12 on host abc, which `does`".
FileLock wait_aloud(const std::filesystem::path& path, const std::string& does);

}  // namespace mumoe::data
