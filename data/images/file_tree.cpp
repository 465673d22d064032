#include "data/images/file_tree.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "data/images/decode.h"
#include "data/progress_line.h"

namespace mumoe::data {
namespace {

namespace fs = std::filesystem;

/// How many there are of something skipped, and the first.
struct Skipped {
  std::size_t count = 0;
  std::string first;

  void add(const std::string& name) {
    if (count++ == 0 || name < first) first = name;
  }
  void add(const Skipped& more) {
    if (more.count == 0) return;
    if (count == 0 || more.first < first) first = more.first;
    count += more.count;
  }
  void tell(const fs::path& root,
            const char* what,
            std::vector<std::string>& notes) const {
    if (count == 0) return;
    notes.push_back(one_line(fmt::format("{}: skipped {} {}, the first {}",
                                         root.string(),
                                         count,
                                         what,
                                         first)));
  }
};

bool has_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  std::ranges::transform(ending, ending.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return ending == ".jpeg" || ending == ".jpg" || ending == ".png";
}

bool hidden(const fs::path& path) {
  return path.filename().native().starts_with('.');
}

struct OfClass {
  struct File {
    std::string path;
    std::uintmax_t size;
  };
  std::vector<File> files;
  Skipped other, empty, bad;
};

/// The folders in `root`, by name; what else is there is skipped.
std::vector<std::string> folders_in(const fs::path& root, Skipped& other) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(root, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    std::error_code unknown;
    if (!hidden(entry->path()) && entry->is_directory(unknown)) {
      names.push_back(std::move(name));
    } else {
      other.add(name);
    }
  }
  require(!error, "{}: cannot list: {}", root.string(), error.message());
  require(!names.empty(),
          "{}: no folders; expected one for each class",
          root.string());
  std::ranges::sort(names);
  return names;
}

OfClass list_class(const fs::path& root, const std::string& name) {
  OfClass found;
  const auto below = [&](const fs::path& path) {
    return path.lexically_relative(root).generic_string();
  };
  std::error_code error;
  fs::recursive_directory_iterator entry(
      root / name,
      fs::directory_options::follow_directory_symlink,
      error);
  for (const fs::recursive_directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (hidden(path)) {
      found.other.add(below(path));
      entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_directory(error) && !error) {
      require(entry.depth() < 32,
              "{}: folders more than 32 deep; expected no link in a circle",
              path.string());
      continue;
    }
    if (!has_image_name(path) || !entry->is_regular_file(error)) {
      found.other.add(below(path));
      continue;
    }
    const std::uintmax_t size = entry->file_size(error);
    if (error) break;
    if (size == 0) {
      found.empty.add(below(path));
    } else {
      found.files.push_back({below(path), size});
    }
  }
  require(!error,
          "{}: cannot list: {}",
          (root / name).string(),
          error.message());
  std::ranges::sort(found.files, {}, &OfClass::File::path);
  return found;
}

/// Takes out the files that cannot be decoded.
void drop_bad(const fs::path& root,
              std::vector<OfClass>& all,
              Workers& workers) {
  struct Place {
    OfClass* of;
    std::size_t file;
  };
  std::vector<Place> places;
  for (OfClass& of : all) {
    for (std::size_t i = 0; i < of.files.size(); ++i)
      places.push_back({&of, i});
  }
  std::vector<std::string> trouble(places.size());
  ProgressLine progress("checking " + root.string(), {places.size()});
  workers.for_each(places.size(), [&](std::size_t i) {
    trouble[i] = trouble_with(root / places[i].of->files[places[i].file].path);
    progress.add();
  });
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (trouble[i].empty()) continue;
    OfClass& of = *places[i].of;
    if (of.bad.count++ == 0) of.bad.first = trouble[i];
    of.files[places[i].file].path.clear();
  }
  for (OfClass& of : all) {
    std::erase_if(of.files, [](const auto& f) { return f.path.empty(); });
  }
}

std::vector<OfClass> list_all(const FileTree& tree, Workers& workers) {
  std::vector<OfClass> all(tree.classes.size());
  ProgressLine progress(tree.root.string(), {all.size(), "classes"});
  workers.for_each(all.size(), [&](std::size_t i) {
    std::error_code error;
    if (fs::exists(tree.root / tree.classes[i], error)) {
      all[i] = list_class(tree.root, tree.classes[i]);
    }
    progress.add();
  });
  return all;
}

/// The names in `root` against the classes there should be.
void match_classes(const std::vector<std::string>& found,
                   const std::vector<std::string>& expected,
                   FileTree& tree) {
  tree.classes = expected.empty() ? found : expected;
  for (const std::string& name : found) {
    require(std::ranges::binary_search(tree.classes, name),
            "{}: no class of the training set; expected one of its {}",
            (tree.root / name).string(),
            tree.classes.size());
  }
  Skipped lacking;
  for (const std::string& name : tree.classes) {
    if (!std::ranges::binary_search(found, name)) lacking.add(name);
  }
  if (lacking.count == 0) return;
  tree.notes.push_back(
      one_line(fmt::format("{}: no folder of {} classes, the "
                           "first {}",
                           tree.root.string(),
                           lacking.count,
                           lacking.first)));
}

void check_class(const FileTree& tree,
                 const std::string& name,
                 const OfClass& of,
                 BadImages bad) {
  require(of.empty.count == 0 || bad == BadImages::skip,
          "{}: an empty file; expected a JPEG or PNG file",
          (tree.root / of.empty.first).string());
  std::error_code error;
  if (!fs::exists(tree.root / name, error)) return;
  require(!of.files.empty(),
          "{}: a class without images; expected files .JPEG, .jpg, .jpeg or "
          ".png{}",
          (tree.root / name).string(),
          of.bad.count + of.empty.count > 0 ? " that can be decoded" : "");
}

}  // namespace

std::string trouble_with(const fs::path& path) {
  try {
    const std::string bytes = read_file(path);
    ImageFile file(path, bytes);
    file.decode({0, 0, file.width(), file.height()}, file.width());
    return "";
  } catch (const InputError& error) {
    return error.what();
  }
}

std::vector<std::string> class_folders(const fs::path& root) {
  Skipped other;
  return folders_in(root, other);
}

FileTree find_image_files(const fs::path& root,
                          const std::vector<std::string>& classes,
                          BadImages bad,
                          Workers& workers) {
  FileTree tree;
  tree.root = root;
  Skipped other, empty, damaged;
  match_classes(folders_in(root, other), classes, tree);
  std::vector<OfClass> all = list_all(tree, workers);
  if (bad == BadImages::skip) drop_bad(root, all, workers);
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const auto& [path, size] : all[i].files) {
      const std::string line = fmt::format("{}\n{}\n", path, size);
      XXH3_64bits_update(state, line.data(), line.size());
      tree.files.push_back({path, static_cast<std::int32_t>(i)});
    }
    other.add(all[i].other);
    empty.add(all[i].empty);
    damaged.add(all[i].bad);
  }
  tree.hash = fmt::format("{:016x}", XXH3_64bits_digest(state));
  XXH3_freeState(state);
  for (std::size_t i = 0; i < all.size(); ++i) {
    check_class(tree, tree.classes[i], all[i], bad);
  }
  other.tell(root, "files and folders that are no images", tree.notes);
  empty.tell(root, "empty files", tree.notes);
  damaged.tell(root, "files that cannot be decoded", tree.notes);
  return tree;
}

}  // namespace mumoe::data
