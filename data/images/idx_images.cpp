#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "data/images/idx.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

std::string listed(const std::vector<std::int64_t>& dims) {
  return fmt::format("{}", fmt::join(dims, " x "));
}

IdxArray read_pixels(const fs::path& path) {
  IdxArray pixels = read_idx(path);
  const auto& dims = pixels.dims;
  require((dims.size() == 3 || (dims.size() == 4 && dims[3] == 3)) &&
              dims[0] > 0 && dims[1] > 0 && dims[2] > 0,
          "{}: {} bytes; expected images x height x width, or that x 3 for "
          "colour",
          path.string(),
          listed(dims));
  return pixels;
}

IdxArray read_labels(const IdxPair& files,
                     std::int64_t count,
                     std::int64_t classes) {
  IdxArray of = read_idx(files.labels);
  require(of.dims.size() == 1 && of.dims[0] == count,
          "{}: {} labels; expected {}, one for each image of {}",
          files.labels.string(),
          listed(of.dims),
          count,
          files.images.filename().string());
  if (classes == 0) return of;
  const auto odd = std::ranges::find_if(of.bytes, [&](std::uint8_t label) {
    return label >= classes;
  });
  require(odd == of.bytes.end(),
          "{}: label {} of image {}; expected one below {}",
          files.labels.string(),
          odd == of.bytes.end() ? 0 : *odd,
          odd - of.bytes.begin(),
          classes);
  return of;
}

Attributes read_attributes(const IdxPair& files, std::int64_t count) {
  if (files.attributes.empty()) return {};
  const fs::path list = files.attributes.parent_path() / kAttributeNames;
  Attributes attributes{read_names(list), {}};
  IdxArray of = read_idx(files.attributes);
  require(of.dims.size() == 2 && of.dims[0] == count &&
              of.dims[1] == std::ssize(attributes.names),
          "{}: {} values; expected {} x {}: one for each image of {} and name "
          "of {}",
          files.attributes.string(),
          listed(of.dims),
          count,
          attributes.names.size(),
          files.images.filename().string(),
          list.string());
  const auto odd = std::ranges::find_if(of.bytes, [](std::uint8_t value) {
    return value > 1;
  });
  require(odd == of.bytes.end(),
          "{}: value {} of image {}; expected 0 or 1",
          files.attributes.string(),
          odd == of.bytes.end() ? 0 : *odd,
          (odd - of.bytes.begin()) / std::ssize(attributes.names));
  attributes.values = std::move(of.bytes);
  return attributes;
}

std::string hash_of(const IdxImages& images) {
  const std::array<std::int64_t, 3> dims{images.count,
                                         images.height,
                                         images.width};
  XXH64_hash_t hash = XXH3_64bits(dims.data(), sizeof dims);
  for (const auto* bytes :
       {&images.pixels, &images.labels, &images.attributes.values}) {
    if (bytes->empty()) continue;
    hash = XXH3_64bits_withSeed(bytes->data(), bytes->size(), hash);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

IdxImages read_idx_images(const IdxPair& files, std::int64_t classes) {
  IdxArray pixels = read_pixels(files.images);
  IdxImages result;
  result.count = pixels.dims[0];
  result.height = pixels.dims[1];
  result.width = pixels.dims[2];
  result.channels = pixels.dims.size() == 4 ? 3 : 1;
  result.labels = read_labels(files, result.count, classes).bytes;
  result.attributes = read_attributes(files, result.count);
  result.pixels = std::move(pixels.bytes);
  result.hash = hash_of(result);
  return result;
}

IdxPair find_idx_pair(const fs::path& folder,
                      const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    for (const char* hyphen : {"-", "."}) {
      for (const char* ending : {"", ".gz"}) {
        const auto name = [&](const char* what, int dims, const char* gz) {
          return folder / fmt::format("{}-{}{}idx{}-ubyte{}",
                                      part,
                                      what,
                                      hyphen,
                                      dims,
                                      gz);
        };
        const auto first_there = [](std::initializer_list<fs::path> paths) {
          std::error_code error;
          const auto found = std::ranges::find_if(paths, [&](const auto& path) {
            return fs::exists(path, error);
          });
          return found == paths.end() ? fs::path() : *found;
        };
        IdxPair pair{
            first_there({name("images", 3, ending), name("images", 4, ending)}),
            name("labels", 1, ending),
            first_there(
                {name("attributes", 2, ""), name("attributes", 2, ".gz")})};
        if (!pair.images.empty()) return pair;
      }
    }
  }
  return {};
}

void write_names(const fs::path& path, const std::vector<std::string>& names) {
  write_file_atomically(path, fmt::format("{}\n", fmt::join(names, "\n")));
}

std::vector<std::string> read_names(const fs::path& path) {
  const std::string text = read_file(path);
  std::vector<std::string> names;
  std::set<std::string_view> known;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view name(text.data() + begin, end - begin);
    if (name.ends_with('\r')) name.remove_suffix(1);
    begin = end + 1;
    require(!name.empty() && known.insert(name).second,
            "{} line {}: {}; expected a name of its own on each line",
            path.string(),
            names.size() + 1,
            name.empty() ? "empty" : name);
    names.emplace_back(name);
  }
  return names;
}

}  // namespace mumoe::data
