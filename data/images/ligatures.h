#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mumoe::data {

/// Rows of glyphs that a font draws as one, and that one.
using Ligatures = std::map<std::vector<std::uint32_t>, std::uint32_t>;

/// The ligatures of a font's table GSUB (OpenType 1.9: lookups of type 4, in
/// extensions too), whatever feature, script or language they are for; of two
/// for one row the first. Empty where there is no table. Throws `InputError`
/// that begins with `what` where the table is damaged.
Ligatures read_ligatures(std::string_view gsub, const std::string& what);

}  // namespace mumoe::data
