#include "data/images/faces.h"

#include <string>

#include "base/error.h"
#include "base/file.h"
#include "data/draw_faces.h"
#include "data/process.h"
#include "data/workers.h"

namespace mumoe::data {

namespace fs = std::filesystem;

void write_faces(const std::vector<fs::path>& packages,
                 int count,
                 const fs::path& into,
                 int processes) {
  const fs::path script = into / "draw_faces.py";
  write_file_atomically(script, kDrawFaces);
  std::error_code error;
  fs::create_directories(into / "img_align_celeba", error);
  require(!error, "{}: cannot create: {}", into.string(), error.message());
  Workers workers(processes);
  workers.for_each(static_cast<std::size_t>(processes), [&](std::size_t part) {
    std::vector<std::string> command{"python3",
                                     script.string(),
                                     into.string(),
                                     std::to_string(count),
                                     std::to_string(part),
                                     std::to_string(processes)};
    for (const fs::path& package : packages)
      command.push_back(package.string());
    run_process("drawing faces", command);
  });
}

}  // namespace mumoe::data
