#include "tests/fakes/fake_group.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace mumoe::fakes {
namespace {

// Of one rank, with its numbers; larger ones go in several turns.
constexpr std::size_t kArea = std::size_t{16} << 20;

std::size_t bytes_of(int size) {
  return static_cast<std::size_t>(size) * kArea;
}

}  // namespace

struct FakeGroup::Rank {
  std::atomic<std::int64_t> here;
  /// How many operations it has written its bytes of, and read those of all.
  std::atomic<std::uint64_t> written, read;
  std::byte bytes[kArea - 64];
};

FakeGroup::Address FakeGroup::make(int size) {
  const int file = memfd_create("a fake group", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes_of(size))) != 0) {
    throw std::runtime_error("no memory for a fake group");
  }
  return {getpid(), file};
}

void FakeGroup::drop(const Address& address) {
  close(static_cast<int>(address.file));
}

FakeGroup::FakeGroup(const Address& address,
                     int rank,
                     int size,
                     const std::atomic<bool>& stop)
    : rank_(rank), size_(size), stop_(stop) {
  const auto path =
      fmt::format("/proc/{}/fd/{}", address.process, address.file);
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  void* at = mmap(nullptr,
                  bytes_of(size),
                  PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE,
                  file,
                  0);
  if (file < 0 || at == MAP_FAILED) {
    throw std::runtime_error("the memory of a fake group is gone");
  }
  close(file);
  memory_ = static_cast<char*>(at);
  of(rank_).here = 1;
  wait_until([&] {
    for (int r = 0; r < size_; ++r) {
      if (of(r).here == 0) return false;
    }
    return true;
  });
  if (rank_ == 0 && address.process == getpid()) drop(address);
}

FakeGroup::~FakeGroup() {
  munmap(memory_, bytes_of(size_));
}

FakeGroup::Rank& FakeGroup::of(int rank) const {
  return *reinterpret_cast<Rank*>(memory_ + rank * kArea);
}

template <class Ready>
bool FakeGroup::wait_until(Ready ready) const {
  for (int turn = 0; !ready(); ++turn) {
    if (stop_) return false;
    if (turn < 100) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  return true;
}

std::vector<Bytes> FakeGroup::gather(const void* from, std::size_t bytes) {
  const auto all = [&](auto Rank::*count, std::uint64_t least) {
    return wait_until([&, count] {
      for (int r = 0; r < size_; ++r) {
        if (of(r).*count < least) return false;
      }
      return true;
    });
  };
  std::vector<Bytes> parts(static_cast<std::size_t>(size_), Bytes(bytes));
  std::size_t done = 0;
  do {
    const std::size_t part = std::min(bytes - done, sizeof(Rank::bytes));
    if (!all(&Rank::read, operations_)) return {};
    std::memcpy(of(rank_).bytes,
                static_cast<const std::byte*>(from) + done,
                part);
    of(rank_).written = ++operations_;
    if (!all(&Rank::written, operations_)) return {};
    for (int r = 0; r < size_; ++r) {
      std::memcpy(parts[r].data() + done, of(r).bytes, part);
    }
    of(rank_).read = operations_;
    done += part;
  } while (done < bytes);
  return parts;
}

}  // namespace mumoe::fakes
