// Any bytes as a .safetensors file, and as a checkpoint of that one file: read
// whole, or refused in one line. What is read has no more bytes than the file.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "mumoe/safetensors.h"
#include "run/checkpoint_folder.h"
#include "run/single_file.h"

namespace {

namespace fs = std::filesystem;

void require(bool right) {
  if (!right) std::abort();
}

/// A checkpoint's folder with the one file, written anew for each input; gone
/// with the process unless that crashes.
class Folder {
 public:
  Folder()
      : path_(fs::temp_directory_path() /
              ("mumoe_fuzz_" + std::to_string(::getpid()))) {
    fs::create_directory(path_);
    fd_ = ::open(file().c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd_ >= 0);
  }
  ~Folder() {
    ::close(fd_);
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void write(const std::uint8_t* data, std::size_t size) const {
    require(::ftruncate(fd_, 0) == 0);
    const auto written = ::pwrite(fd_, data, size, 0);
    require(written == static_cast<ssize_t>(size));
  }
  const fs::path& path() const { return path_; }
  fs::path file() const { return path_ / mumoe::run::kStateFile; }

 private:
  fs::path path_;
  int fd_ = -1;
};

template <class Read>
void read_or_refuse(const Read& read) {
  try {
    read();
  } catch (const mumoe::InputError& error) {
    const std::string line = error.what();
    require(!line.empty() && line.find('\n') == line.npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  static const Folder folder;
  folder.write(data, size);
  read_or_refuse([&] {
    mumoe::SafetensorsFile file(folder.file());
    require(file.size() == static_cast<std::int64_t>(size));
    std::size_t bytes = 0;
    for (const auto& name : file.names()) bytes += file.read(name).nbytes();
    require(bytes <= size);
  });
  read_or_refuse([&] {
    const auto manifest = mumoe::run::read_single_file(folder.path());
    for (const auto& [name, tensor] : manifest.tensors) {
      require(tensor.bytes() <= static_cast<std::int64_t>(size));
    }
  });
  return 0;
}
