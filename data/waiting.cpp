#include "data/waiting.h"

#include <cstdio>

namespace mumoe::data {

FileLock wait_aloud(const std::filesystem::path& path,
                    const std::string& does) {
  return FileLock::wait(path, [&](const std::string& holder) {
    std::fprintf(stderr,
                 "mumoe: waiting for %s, which %s\n",
                 holder.c_str(),
                 does.c_str());
  });
}

}  // namespace mumoe::data
