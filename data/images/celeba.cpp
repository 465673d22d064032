#include "data/images/celeba.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/progress_line.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

constexpr char kAttributeList[] = "list_attr_celeba.txt";
constexpr char kPartList[] = "list_eval_partition.txt";
constexpr char kImageFolder[] = "img_align_celeba";

/// The lines of a text and what stands between blanks in one.
class Lines {
 public:
  explicit Lines(const fs::path& path) : path_(path), text_(read_file(path)) {}

  /// The words of the next line that is not blank; false at the end.
  bool next(std::vector<std::string_view>& words) {
    words.clear();
    while (words.empty() && at_ < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', at_), text_.size());
      split({text_.data() + at_, end - at_}, words);
      at_ = end + 1;
      ++number_;
    }
    return !words.empty();
  }
  /// "FILE line 3", of the line that came last.
  std::string where() const {
    return fmt::format("{} line {}", path_.string(), number_);
  }

 private:
  static void split(std::string_view line,
                    std::vector<std::string_view>& words) {
    constexpr std::string_view kBlank = " \t\r";
    std::size_t begin = line.find_first_not_of(kBlank);
    while (begin != std::string_view::npos) {
      const std::size_t end =
          std::min(line.find_first_of(kBlank, begin), line.size());
      words.push_back(line.substr(begin, end - begin));
      begin = line.find_first_not_of(kBlank, end);
    }
  }

  fs::path path_;
  std::string text_;
  std::size_t at_ = 0;
  std::size_t number_ = 0;
};

/// What the list of attributes says.
struct Listed {
  std::vector<std::string> images;
  Attributes attributes;
};

Listed read_attributes(const fs::path& path) {
  Lines lines(path);
  std::vector<std::string_view> words;
  std::size_t count = 0;
  lines.next(words);
  const std::string_view first = words.empty() ? "nothing" : words[0];
  const auto end = first.data() + first.size();
  require(
      words.size() == 1 && std::from_chars(first.data(), end, count).ptr == end,
      "{}: begins with {}; expected the number of images, and nothing else "
      "on the line",
      path.string(),
      printable(first));
  require(lines.next(words),
          "{}: one line; expected the names of the attributes on the second",
          path.string());
  Listed listed;
  Attributes& attributes = listed.attributes;
  attributes.names.assign(words.begin(), words.end());
  while (lines.next(words)) {
    require(words.size() == attributes.names.size() + 1,
            "{}: {} values; expected {}, one an attribute, after the image's "
            "name",
            lines.where(),
            words.size() - 1,
            attributes.names.size());
    listed.images.emplace_back(words[0]);
    for (std::size_t i = 1; i < words.size(); ++i) {
      require(words[i] == "1" || words[i] == "-1",
              "{}: {} of {} is {}; expected 1 or -1",
              lines.where(),
              attributes.names[i - 1],
              printable(words[0]),
              printable(words[i]));
      attributes.values.push_back(words[i] == "1");
    }
  }
  require(listed.images.size() == count,
          "{}: {} images; expected {}, as its first line says",
          path.string(),
          listed.images.size(),
          count);
  return listed;
}

/// The part of each image, in the order of `images`.
std::vector<std::uint8_t> read_parts(const fs::path& path,
                                     const std::vector<std::string>& images) {
  constexpr std::uint8_t kNone = 3;
  std::unordered_map<std::string_view, std::size_t> place;
  for (std::size_t i = 0; i < images.size(); ++i) {
    require(place.emplace(images[i], i).second,
            "{}: {} is there twice; expected each image once",
            (path.parent_path() / kAttributeList).string(),
            printable(images[i]));
  }
  std::vector<std::uint8_t> parts(images.size(), kNone);
  std::size_t count = 0;
  Lines lines(path);
  for (std::vector<std::string_view> words; lines.next(words); ++count) {
    require(words.size() == 2 &&
                (words[1] == "0" || words[1] == "1" || words[1] == "2"),
            "{}: expected the name of an image, and 0, 1 or 2 for training, "
            "validation or test",
            lines.where());
    const auto found = place.find(words[0]);
    require(found != place.end(),
            "{}: {} is not in {}; expected the same images in both",
            lines.where(),
            printable(words[0]),
            kAttributeList);
    require(parts[found->second] == kNone,
            "{}: {} is there twice; expected each image once",
            lines.where(),
            printable(words[0]));
    parts[found->second] = static_cast<std::uint8_t>(words[1][0] - '0');
  }
  require(count == images.size(),
          "{}: {} images; expected {}, as in {}",
          path.string(),
          count,
          images.size(),
          kAttributeList);
  return parts;
}

/// The sizes of the files in a folder, by name.
std::unordered_map<std::string, std::uintmax_t> sizes_in(
    const fs::path& folder) {
  std::unordered_map<std::string, std::uintmax_t> sizes;
  std::error_code error;
  fs::directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    const std::uintmax_t size = entry->file_size(unknown);
    if (!unknown) sizes.emplace(entry->path().filename().string(), size);
  }
  require(!error,
          "{}: cannot list: {}; expected the folder of the images",
          folder.string(),
          error.message());
  return sizes;
}

/// Of each image whether it is used.
std::vector<bool> usable(const fs::path& folder,
                         const std::vector<std::string>& images,
                         BadImages bad,
                         Workers& workers,
                         std::vector<std::string>& notes) {
  std::vector<bool> all(images.size(), true);
  if (bad != BadImages::skip) return all;
  std::vector<std::string> trouble(images.size());
  ProgressLine progress("checking " + folder.string(), {images.size()});
  workers.for_each(images.size(), [&](std::size_t i) {
    trouble[i] = trouble_with(folder / images[i]);
    progress.add();
  });
  std::size_t count = 0;
  const std::string* first = nullptr;
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (trouble[i].empty()) continue;
    all[i] = false;
    if (count++ == 0) first = &trouble[i];
  }
  if (first != nullptr) {
    notes.push_back(one_line(
        fmt::format("{}: skipped {} files that cannot be decoded, the first {}",
                    folder.string(),
                    count,
                    *first)));
  }
  return all;
}

class Parts {
 public:
  Parts(const fs::path& folder, const Listed& listed, std::size_t target)
      : listed_(listed), target_(target) {
    for (FileTree& tree : trees_) {
      tree.root = folder / kImageFolder;
      tree.classes = classes_of_attribute(listed.attributes.names[target]);
      tree.attributes.names = listed.attributes.names;
    }
  }

  void add(std::size_t image,
           std::uint8_t part,
           const std::string& path,
           std::uintmax_t size) {
    const auto row = listed_.attributes.row(image);
    FileTree& tree = trees_[part];
    tree.files.push_back({path, row[target_]});
    auto& values = tree.attributes.values;
    values.insert(values.end(), row.begin(), row.end());
    lines_[part] += fmt::format("{}\n{}\n", path, size);
  }

  AttributeTrees finish() {
    for (std::size_t part = 0; part < trees_.size(); ++part) {
      const auto& values = trees_[part].attributes.values;
      XXH64_hash_t hash = XXH3_64bits(values.data(), values.size());
      hash = XXH3_64bits_withSeed(lines_[part].data(),
                                  lines_[part].size(),
                                  hash + target_);
      trees_[part].hash = fmt::format("{:016x}", hash);
    }
    return {std::move(trees_[0]), std::move(trees_[1]), std::move(trees_[2])};
  }

 private:
  const Listed& listed_;
  std::size_t target_;
  std::array<FileTree, 3> trees_;
  std::array<std::string, 3> lines_;  ///< Paths and sizes, to be hashed.
};

void require_images(const FileTree& tree,
                    const fs::path& folder,
                    const char* what) {
  require(!tree.files.empty(),
          "{}: no images for {}; expected some",
          (folder / kPartList).string(),
          what);
}

/// The names of the files that the lists mean, and their sizes.
std::vector<std::uintmax_t> find_files(const fs::path& folder,
                                       std::vector<std::string>& images) {
  const auto sizes = sizes_in(folder);
  std::vector<std::uintmax_t> of_image;
  for (std::string& image : images) {
    auto found = sizes.find(image);
    if (found == sizes.end()) {
      const std::string png =
          fs::path(image).replace_extension(".png").string();
      found = sizes.find(png);
      require(found != sizes.end(),
              "{}: missing; expected the image that {} names, or the same with "
              ".png",
              (folder / printable(image)).string(),
              kAttributeList);
      image = png;
    }
    of_image.push_back(found->second);
  }
  return of_image;
}

}  // namespace

bool has_attribute_lists(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kAttributeList, error);
}

AttributeTrees read_attribute_folder(const fs::path& folder,
                                     const std::string& target,
                                     BadImages bad,
                                     Workers& workers) {
  Listed listed = read_attributes(folder / kAttributeList);
  const auto parts = read_parts(folder / kPartList, listed.images);
  const std::size_t attribute = listed.attributes.find(target, "data.target");
  const fs::path images = folder / kImageFolder;
  const auto sizes = find_files(images, listed.images);
  std::vector<std::string> notes;
  const auto used = usable(images, listed.images, bad, workers, notes);
  Parts made(folder, listed, attribute);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (used[i]) made.add(i, parts[i], listed.images[i], sizes[i]);
  }
  AttributeTrees trees = made.finish();
  require_images(trees.train, folder, "training");
  require_images(trees.val, folder, "validation");
  trees.train.notes = std::move(notes);
  return trees;
}

}  // namespace mumoe::data
