#pragma once

#include <string>
#include <vector>

namespace mumoe::run {

/// The keys of `section` ("*": all, "": none).
std::vector<std::string> key_names(const std::string& section);

/// The keys that are called `name` in some section, or the one most like it.
std::string in_any_section(const std::string& name);

/// Throws `InputError` for a name in `where` that nothing has; it names the one
/// of `known` that looks most like it.
[[noreturn]] void refuse_unknown(const std::string& name,
                                 const std::string& where,
                                 const std::vector<std::string>& known);

}  // namespace mumoe::run
