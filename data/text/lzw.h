#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mumoe::data {

/// What the program compress has packed (LZW; codes of 9 to 16 bits, lowest bit
/// first; Welch 1984), without its header of three bytes: at most `size` bytes
/// of it, fewer where the codes end or 256 clears the table. Throws
/// `InputError` that begins with `where` at a code that is not there yet.
std::string unpack_lzw(std::string_view packed,
                       std::size_t size,
                       const std::string& where);

}  // namespace mumoe::data
