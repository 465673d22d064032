#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace mumoe {

// Reading and writing past the memory in which the operating system keeps
// files: what passes through it once costs its allocation, and drives out what
// is needed again.

/// What the addresses, offsets and sizes of such a transfer are multiples of.
inline constexpr std::size_t kDirectUnit = 4096;

/// Memory from which, and to which, such a transfer can go.
class DirectBuffer {
 public:
  /// `bytes`: a multiple of `kDirectUnit`. Throws `std::bad_alloc`.
  explicit DirectBuffer(std::size_t bytes);
  char* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(char* data) const { std::free(data); }
  };
  std::unique_ptr<char, Free> data_;
  std::size_t size_;
};

/// Whether transfers of `fd` pass it by from now on. A file system that cannot
/// do so leaves them as they were.
void set_direct(int fd, bool direct);

/// All of `bytes`, at the file's position; whether it is done, else `errno`.
bool write_all(int fd, std::string_view bytes);

/// Bytes `begin` to `begin` + `count` of a file, into `to`, which has room for
/// as many units as that touches; how many there are, fewer at the end of the
/// file. -1: `errno`.
std::ptrdiff_t read_all(int fd, std::size_t begin, std::size_t count, char* to);

}  // namespace mumoe
