#pragma once

#include <filesystem>
#include <string>

namespace mumoe::data {

/// Writes the texts of a package whose files are no texts, which lie in
/// `package`, to files in `into`. Throws `InputError` naming the file that is
/// not as expected.
using UnpackTexts = void (*)(const std::filesystem::path& package,
                             const std::filesystem::path& into);

/// The six novels in what R has serialised, a .txt file each.
void unpack_novels(const std::filesystem::path& package,
                   const std::filesystem::path& into);

/// The King James Bible in the form of the program bible-kjv, a .txt file a
/// book; a line a verse, as "Gen1:1 In the beginning ...".
void unpack_scripture(const std::filesystem::path& package,
                      const std::filesystem::path& into);

/// A dictionary of the program dictd, a line of JSON an entry, in the order in
/// which they are in the dictionary.
void unpack_dictionary(const std::filesystem::path& package,
                       const std::filesystem::path& into);

/// The folder below `cache` with the texts of source `name`, which `unpack`
/// writes at first use from `package`; one process at a time. It appears whole
/// or not at all.
std::filesystem::path unpacked_texts(const std::string& name,
                                     const std::filesystem::path& package,
                                     const std::filesystem::path& cache,
                                     UnpackTexts unpack);

}  // namespace mumoe::data
