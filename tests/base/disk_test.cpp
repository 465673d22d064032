#include "base/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "tests/support/scratch.h"

namespace mumoe {
namespace {

namespace fs = std::filesystem;
using testing::ScratchFolder;

constexpr std::size_t kMiB = 1 << 20;

std::string some_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::uint64_t state = count;
  for (char& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Keeps what is to be written.
struct Noted final : Disk {
  void before(const DiskCall& call) override {
    if (call.kind == DiskCall::Kind::write) bytes += call.bytes;
    if (call.kind == DiskCall::Kind::sync) at_sync = bytes;
  }
  std::string bytes;
  std::string at_sync;
};

/// Folders on a disk and in memory: of the latter not all can be written
/// directly.
std::vector<fs::path> places() {
  return {fs::temp_directory_path(), "/dev/shm"};
}

TEST(Disk, WritesWhatItIsGivenWhateverTheSizes) {
  for (const fs::path& place : places()) {
    for (const std::size_t size : {std::size_t{0},
                                   std::size_t{1},
                                   4 * kMiB - 1,
                                   4 * kMiB,
                                   4 * kMiB + 1,
                                   8 * kMiB,
                                   8 * kMiB + 4096,
                                   13 * kMiB + 4097}) {
      const std::string bytes = some_bytes(size);
      for (const std::size_t piece :
           {std::size_t{4096}, 4 * kMiB, 5 * kMiB + 3}) {
        const fs::path path =
            place / fmt::format("mumoe_disk_test_{}", ::getpid());
        fs::remove(path);
        Noted disk;
        {
          Disk::File file(disk, path);
          for (std::size_t at = 0; at < size; at += piece) {
            file.write(std::string_view(bytes).substr(at, piece));
          }
          file.sync();
        }
        EXPECT_TRUE(bytes_of(path) == bytes) << place << " " << size;
        EXPECT_TRUE(disk.bytes == bytes) << place << " " << size;
        EXPECT_TRUE(disk.at_sync == bytes) << place << " " << size;
        fs::remove(path);
      }
    }
  }
}

TEST(Disk, NamesAFileThatCannotGetLargerAtAnySize) {
  const ScratchFolder folder;
  struct rlimit old = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  for (const std::size_t limit :
       {kMiB, 4 * kMiB, 5 * kMiB + 512, 6 * kMiB + 7, 12 * kMiB}) {
    const struct rlimit low = {.rlim_cur = limit, .rlim_max = old.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
    const fs::path path = folder.path() / fmt::format("of_{}", limit);
    std::string text;
    try {
      Disk::File file(real_disk(), path);
      file.write(some_bytes(12 * kMiB + 100));
      file.sync();
    } catch (const InputError& error) {
      text = error.what();
    }
    ::setrlimit(RLIMIT_FSIZE, &old);
    EXPECT_EQ(text, path.string() + ": cannot write: File too large");
    EXPECT_EQ(fs::file_size(path), limit);
  }
  std::signal(SIGXFSZ, handler);
}

TEST(DirectIo, ReadsAnyPartOfAFile) {
  for (const fs::path& place : places()) {
    const fs::path path = place / fmt::format("mumoe_disk_test_{}", ::getpid());
    const std::string bytes = some_bytes(3 * kMiB + 77);
    std::ofstream(path, std::ios::binary) << bytes;
    const int fd = ::open(path.c_str(), O_RDONLY);
    for (const bool direct : {false, true}) {
      set_direct(fd, direct);
      const DirectBuffer buffer(2 * kMiB);
      for (const std::size_t begin : {std::size_t{0}, 2 * kMiB}) {
        const auto read = read_all(fd, begin, 2 * kMiB, buffer.data());
        const std::string expected = bytes.substr(begin, 2 * kMiB);
        EXPECT_EQ(read, std::ssize(expected));
        EXPECT_TRUE(std::string_view(buffer.data(), expected.size()) ==
                    expected);
      }
      // No multiple of what a device reads: still what was asked for.
      const DirectBuffer more(8192);
      EXPECT_EQ(read_all(fd, 100, 200, more.data()), 200);
      EXPECT_EQ(std::string(more.data(), 200), bytes.substr(100, 200));
    }
    ::close(fd);
    fs::remove(path);
  }
}

}  // namespace
}  // namespace mumoe
