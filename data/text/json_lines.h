#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace mumoe::data {

/// Whether a line has nothing but white space, and so no document.
bool is_blank(std::string_view line);

/// The string called `field` of the JSON object `line`. Throws `InputError`
/// that begins with `where`, a file and the number of a line: no JSON (with the
/// byte of the line, also for one that is not UTF-8), no object, no such field,
/// another type, or a zero character in it.
std::string text_of_line(std::string_view line,
                         const std::string& field,
                         const std::string& where);

/// Calls `each` with every line of `bytes`, without its line feed, and its
/// number, that of the first being `first`.
void for_each_line(std::string_view bytes,
                   std::uint64_t first,
                   const std::function<void(std::uint64_t number,
                                            std::string_view line)>& each);

}  // namespace mumoe::data
