#include "base/file_lock.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "base/file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe {
namespace {

using testing::ScratchFolder;

/// A child process that holds the lock on `path` until it is killed.
class Holder {
 public:
  explicit Holder(const std::filesystem::path& path) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const auto lock = FileLock::try_lock(path);
      const char got = lock ? 'y' : 'n';
      if (::write(ends[1], &got, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char got = 'n';
    EXPECT_EQ(::read(ends[0], &got, 1), 1);
    EXPECT_EQ(got, 'y');
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ~Holder() { kill(); }
  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

TEST(FileLock, HasOneHolderAlsoInOneProcess) {
  const ScratchFolder folder;
  const auto path = folder.path() / "lock";
  auto first = FileLock::try_lock(path);
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->excludes());
  EXPECT_FALSE(FileLock::try_lock(path).has_value());
  EXPECT_EQ(FileLock::holder(path), this_process());
  FileLock moved = *std::move(first);
  first.reset();
  EXPECT_FALSE(FileLock::try_lock(path).has_value());
  { const FileLock ended = std::move(moved); }
  EXPECT_TRUE(FileLock::try_lock(path).has_value());
  EXPECT_EQ(FileLock::holder(path), "another process");
}

TEST(FileLock, ADeadHolderBlocksNobody) {
  const ScratchFolder folder;
  const auto path = folder.path() / "lock";
  Holder other(path);
  EXPECT_FALSE(FileLock::try_lock(path).has_value());
  EXPECT_TRUE(FileLock::holder(path).starts_with(
      fmt::format("process {} on host ", other.pid())));
  other.kill();
  EXPECT_TRUE(FileLock::try_lock(path).has_value());
}

TEST(FileLock, WaitingIsToldOnceAndEndsWithTheHolder) {
  const ScratchFolder folder;
  const auto path = folder.path() / "lock";
  Holder other(path);
  const std::string expected = fmt::format("process {} on host ", other.pid());
  std::atomic<int> told{0};
  std::thread waiting([&] {
    const FileLock lock = FileLock::wait(path, [&](const std::string& who) {
      EXPECT_TRUE(who.starts_with(expected)) << who;
      ++told;
    });
    EXPECT_EQ(FileLock::holder(path), this_process());
  });
  while (told == 0) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  other.kill();
  waiting.join();
  EXPECT_EQ(told, 1);
}

TEST(FileLock, WhoWaitsIsToldTheNameOfAHolderThatHasYetToSign) {
  const ScratchFolder folder;
  const auto path = folder.path() / "lock";
  std::optional<FileLock> held = FileLock::try_lock(path);
  folder.write("lock", "");
  std::string told;
  std::thread waiting([&] {
    FileLock::wait(path, [&](const std::string& who) { told = who; });
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  folder.write("lock", "process 7 on host h");
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  held.reset();
  waiting.join();
  EXPECT_EQ(told, "process 7 on host h");
}

TEST(FileLock, AProgramStartedMeanwhileDoesNotKeepIt) {
  const ScratchFolder folder;
  const auto path = folder.path() / "lock";
  pid_t child = -1;
  {
    const auto lock = FileLock::try_lock(path);
    ASSERT_TRUE(lock.has_value());
    child = ::vfork();
    if (child == 0) {
      ::execlp("sleep", "sleep", "60", nullptr);
      ::_exit(1);
    }
  }
  EXPECT_TRUE(FileLock::try_lock(path).has_value());
  EXPECT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "sleep has ended";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(FileLock, AReplacedFileIsLockedAnew) {
  const ScratchFolder folder;
  const auto path = folder.path() / "lock";
  const auto old = FileLock::try_lock(path);
  std::filesystem::remove(path);
  const auto fresh = FileLock::try_lock(path);
  EXPECT_TRUE(fresh.has_value());
  EXPECT_FALSE(FileLock::try_lock(path).has_value());
}

TEST(FileLock, AFileThatCannotBeOpenedIsNamed) {
  const ScratchFolder folder;
  const auto path = folder.path() / "missing" / "lock";
  testing::expect_input_error([&] { FileLock::try_lock(path); },
                              {path.string(), "No such file"});
}

TEST(FileLock, AForeignFileIsNotReadAsAHolder) {
  const ScratchFolder folder;
  EXPECT_EQ(FileLock::holder(folder.write("lock", "process 1\nrm")),
            "another process");
  EXPECT_EQ(FileLock::holder(folder.path() / "none"), "another process");
}

}  // namespace
}  // namespace mumoe
