#include "study/scale/results_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::study {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_at(const fs::path& path, const char* what) {
  fail<InputError>("{}: cannot be {}: {}",
                   path.string(),
                   what,
                   std::strerror(errno));
}

}  // namespace

WholeLines read_lines(const fs::path& file, const TakeLine& take) {
  std::error_code error;
  if (!fs::exists(file, error) && !error) return {};
  const std::string text = read_file(file);
  WholeLines read;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    const auto where = fmt::format("{}:{}", file.string(), ++number);
    if (end == text.npos) {
      read.note =
          fmt::format("{}: the last line is cut short ({} bytes) and left out",
                      where,
                      text.size() - begin);
      break;
    }
    const auto line = std::string_view(text).substr(begin, end - begin);
    begin = read.whole = end + 1;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    take(line, where);
  }
  return read;
}

LinesFolder::LinesFolder(fs::path folder,
                         const std::string& text,
                         const TakeLine& take)
    : folder_(std::move(folder)) {
  std::error_code error;
  fs::create_directories(folder_, error);
  require(!error && fs::is_directory(folder_, error),
          "{}: cannot be made: {}; expected a folder for the results",
          folder_.string(),
          error ? error.message() : "it is a file");
  require(fs::exists(folder_ / "study.json", error) ||
              fs::is_empty(folder_, error) ||
              fs::exists(folder_ / ".scale.lock", error),
          "{}: holds other files; expected an empty folder, or that of a study",
          folder_.string());
  auto lock = FileLock::try_lock(folder_ / ".scale.lock");
  require(lock.has_value(),
          "{}: {} measures into it; expected another folder, or to wait",
          folder_.string(),
          FileLock::holder(folder_ / ".scale.lock"));
  lock_.push_back(std::move(*lock));
  const auto read = read_lines(file(), take);
  keep_study(text);
  fd_ = ::open(file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_at(file(), "opened");
  if (!read.note.empty()) {
    notes_.push_back(read.note + "; its run is measured again");
    if (::ftruncate(fd_, static_cast<off_t>(read.whole)) != 0) {
      fail_at(file(), "cut");
    }
  }
  sync_to_disk(folder_);
}

LinesFolder::~LinesFolder() {
  if (fd_ >= 0) ::close(fd_);
}

void LinesFolder::keep_study(const std::string& text) {
  const auto path = folder_ / "study.json";
  std::error_code error;
  if (fs::exists(path, error)) {
    if (read_file(path) == text) return;
    notes_.push_back(path.string() +
                     ": was another study; what was measured with the same "
                     "settings stays");
  }
  write_file_atomically(path, text);
}

void LinesFolder::append(const std::string& text) {
  const std::string line = text + "\n";
  for (std::size_t written = 0; written < line.size();) {
    const auto wrote =
        ::write(fd_, line.data() + written, line.size() - written);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail_at(file(), "written");
    written += static_cast<std::size_t>(wrote);
  }
  if (::fsync(fd_) != 0) fail_at(file(), "flushed");
}

}  // namespace mumoe::study
