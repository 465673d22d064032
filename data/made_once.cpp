#include "data/made_once.h"

#include "base/error.h"
#include "data/waiting.h"

namespace mumoe::data {

namespace fs = std::filesystem;

fs::path made_once(const fs::path& cache,
                   const std::string& name,
                   const std::string& does,
                   const std::function<void(const fs::path& into)>& make) {
  const fs::path home = cache / "data" / name;
  std::error_code error;
  if (fs::exists(home, error)) return home;
  fs::create_directories(cache / "locks", error);
  const FileLock lock = wait_aloud(cache / "locks" / (name + ".lock"), does);
  if (fs::exists(home, error)) return home;
  // What a crash left is written over.
  const fs::path scratch = cache / "data" / ('.' + name);
  fs::remove_all(scratch, error);
  require(fs::create_directories(scratch, error),
          "{}: cannot create: {}",
          scratch.string(),
          error.message());
  make(scratch);
  fs::rename(scratch, home, error);
  require(!error || fs::exists(home),
          "{}: cannot rename: {}",
          home.string(),
          error.message());
  return home;
}

}  // namespace mumoe::data
