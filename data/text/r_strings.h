#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// The strings of a character vector that R has serialised (XDR, version 2 or
/// 3; "R Internals", section Serialization Formats). Throws `InputError` that
/// begins with `where` and names the byte: other values, attributes, missing
/// strings, a count beyond the bytes.
std::vector<std::string> read_r_strings(std::string_view bytes,
                                        const std::string& where);

/// The values in a file of R's lazy-load database (.rdb), unpacked, in order:
/// each is a big-endian count of bytes and a stream of zlib that unpacks to as
/// many. Throws `InputError` that begins with `where`.
std::vector<std::string> unpack_r_values(std::string_view bytes,
                                         const std::string& where);

}  // namespace mumoe::data
