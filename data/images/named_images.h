#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/image_data.h"

namespace mumoe::data {

/// Images that are fetched by name at first use (manifest.json has the packages
/// and their licences), or made from what is.
struct NamedImages {
  std::string_view name;
  std::string_view what;  ///< A line for users.
  ImageShape shape;       ///< By their own classes.
  Augmentation augment;   ///< What automatic means.
  /// The folder with the files, made on so many threads where it is not there.
  std::filesystem::path (*folder)(int threads);
  /// Names of the classes; null: the folder says them.
  std::vector<std::string> (*classes)() = nullptr;
  std::string_view note = {};  ///< What users of it should know.
};
std::span<const NamedImages> named_images();

/// The images called `name`; null: there are none.
const NamedImages* find_named_images(std::string_view name);

/// "fashion-mnist, glyphs": all names.
std::string image_names();

/// " (did you mean glyphs?)" for a name that is nearly one of them; else empty.
std::string nearest_images(std::string_view name);

}  // namespace mumoe::data
