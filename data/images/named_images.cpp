#include "data/images/named_images.h"

#include <algorithm>
#include <array>

#include "base/file.h"
#include "data/fetch.h"
#include "data/images/emoji.h"
#include "data/images/faces.h"
#include "data/images/glyphs.h"
#include "data/made_once.h"
#include "data/nearest.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

fs::path fashion_folder(int) {
  return fetch(find_package("fashion-mnist"), cache_folder());
}

std::vector<std::string> fashion_classes() {
  return {"T-shirt/top",
          "Trouser",
          "Pullover",
          "Dress",
          "Coat",
          "Sandal",
          "Shirt",
          "Sneaker",
          "Bag",
          "Ankle boot"};
}

// The numbers in the names of folders change with what is written to them.

fs::path glyph_folder(int threads) {
  const fs::path cache = cache_folder();
  return made_once(cache, "glyphs-1", "draws glyphs", [&](const fs::path& to) {
    write_glyphs(fetch(find_package("fonts"), cache), to, threads);
  });
}

fs::path emoji_folder(int threads) {
  const fs::path cache = cache_folder();
  return made_once(cache, "emoji-1", "draws emoji", [&](const fs::path& to) {
    write_emoji(fetch(find_package("emoji-font"), cache) / "NotoColorEmoji.ttf",
                fetch(find_package("emoji-list"), cache) / "emoji-test.txt",
                to,
                threads);
  });
}

fs::path face_folder(int threads) {
  constexpr int kFaces = 8000;
  const fs::path cache = cache_folder();
  return made_once(cache, "faces-1", "draws faces", [&](const fs::path& to) {
    std::vector<fs::path> packages;
    for (const char* key : {"face-drawing", "face-schema", "face-styles"}) {
      // Of a wheel, the folder that is looked for in is the one above.
      packages.push_back(fetch(find_package(key), cache).parent_path());
    }
    write_faces(packages, kFaces, to, threads);
  });
}

constexpr std::array<NamedImages, 4> kImages = {{
    {"fashion-mnist",
     "70,000 pictures of clothes, 28 x 28, 10 classes",
     {28, 1, 10},
     Augmentation::crop_flip,
     fashion_folder,
     fashion_classes},
    // In a mirror a b is a d.
    {"glyphs",
     "letters and digits of Debian's fonts, 28 x 28, 62 classes, no family in "
     "both parts",
     {kGlyphSide, 1, 62},
     Augmentation::none,
     glyph_folder},
    {"emoji",
     "pictures of emoji, 64 x 64, 9 groups, with attributes such as Female",
     {kEmojiSide, 3, kEmojiGroups},
     Augmentation::none,
     emoji_folder},
    {"faces",
     "8,000 synthetic faces, 64 x 64, with attributes as CelebA's: of one of "
     "them (data.target) it is told whether it is true",
     {64, 3, 2},
     Augmentation::crop_flip,
     face_folder,
     nullptr,
     "synthetic: drawn by DiceBear, of nobody, in the form of CelebA"},
}};

}  // namespace

std::span<const NamedImages> named_images() {
  return kImages;
}

const NamedImages* find_named_images(std::string_view name) {
  const auto found = std::ranges::find(kImages, name, &NamedImages::name);
  return found == kImages.end() ? nullptr : &*found;
}

std::string image_names() {
  std::string names;
  for (const NamedImages& images : kImages) {
    names += (names.empty() ? "" : ", ") + std::string(images.name);
  }
  return names;
}

std::string nearest_images(std::string_view name) {
  std::vector<std::string_view> names;
  for (const NamedImages& images : kImages) names.push_back(images.name);
  return nearest_name(name, names);
}

}  // namespace mumoe::data
