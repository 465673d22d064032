#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/attributes.h"
#include "data/images/image_data.h"
#include "data/workers.h"

namespace mumoe::data {

/// Image files and their labels.
struct FileTree {
  struct File {
    std::string path;  ///< Below `root`.
    std::int32_t label = 0;
  };
  std::filesystem::path root;
  std::vector<std::string> classes;  ///< A name for each label.
  std::vector<File> files;
  std::string hash;  ///< Of paths and sizes, 16 digits.
  std::vector<std::string> notes;
  Attributes attributes;  ///< Of each file, where they are known.
};

/// Why an image file cannot be decoded; empty: it can.
std::string trouble_with(const std::filesystem::path& path);

/// The names of the folders in `root`, of which each is a class, sorted by
/// bytes; hidden ones are none. Throws `InputError` where there is none.
std::vector<std::string> class_folders(const std::filesystem::path& root);

/// Lists root/CLASS/**.{JPEG,jpg,jpeg,png} (upper or lower case), and with
/// `BadImages::skip` decodes each once and leaves out those that cannot be.
/// With `classes`, those are the classes: one of root that is not among them is
/// refused, one of them that root lacks is a note. Skips, with a note that
/// counts them and names the first, hidden names and files of other names.
/// Refuses a class without files. Says every few seconds on stderr how far it
/// is. Classes are sorted by bytes, files by class, then path. Throws
/// `InputError`.
FileTree find_image_files(const std::filesystem::path& root,
                          const std::vector<std::string>& classes,
                          BadImages bad,
                          Workers& workers);

}  // namespace mumoe::data
