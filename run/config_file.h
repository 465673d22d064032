#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::run {

/// One `key = value` line of a configuration file.
struct ConfigEntry {
  std::string name;  ///< section.key
  std::string value;
  int line = 0;
  /// What was taken for a comment though it may belong to the value: the `#2`
  /// of `/data/set #2`. Empty as a rule.
  std::string doubtful;
};

/// The entries of a configuration in the INI form of Boost.Program_options,
/// whose own reader cuts every value at its first `#`, wherever that stands,
/// and cannot tell lines. Here a `#` begins a comment at a line's start or
/// after a blank; a value with blanks at its ends, with ` #` or with control
/// characters stands in double quotes, with \" \\ \n \t \r \xHH inside. CRLF
/// and a byte order mark are taken as they come. Throws `InputError` that
/// begins with `FILE:LINE`: neither section, entry nor comment; a name or a
/// quote that is not closed; a key for the second time; a zero byte.
std::vector<ConfigEntry> parse_config(std::string_view text,
                                      const std::string& file);

/// The same of a regular file of at most 1 MiB.
std::vector<ConfigEntry> read_config_file(const std::filesystem::path& file);

/// `value` as it stands in a configuration: in quotes where it has to be.
std::string to_config_value(std::string_view value);

}  // namespace mumoe::run
