#include "data/text/dataset_json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

/// Changes when the meaning of the files changes, so that caches are remade.
constexpr int kFormat = 1;
/// Changes when the blocks of a corpus do, so that nothing goes on from places
/// in others.
constexpr int kBlocks = 1;

nlohmann::ordered_json split_json(const Split& split) {
  nlohmann::ordered_json json = {{"file", split.path.filename().string()},
                                 {"tokens", split.tokens},
                                 {"documents", split.documents},
                                 {"bytes", split.bytes},
                                 {"bytes_per_token", split.bytes_per_token()},
                                 {"xxhash", split.hash}};
  if (split.shards.size() < 2) return json;
  for (const Shard& shard : split.shards) {
    json["shards"].push_back({{"file", shard.file},
                              {"tokens", shard.tokens},
                              {"xxhash", shard.hash}});
  }
  return json;
}

/// The name of a file in the folder, and of no other.
std::string plain_name(const nlohmann::json& json) {
  const auto name = json.get<std::string>();
  require(std::filesystem::path(name).filename() == name && !name.empty(),
          "dataset.json: file {}; expected the name of one beside it",
          printable(name));
  return name;
}

nlohmann::ordered_json progress_json(const std::vector<Shard>& shards) {
  auto json = nlohmann::ordered_json::array();
  for (const Shard& shard : shards) {
    json.push_back({{"file", shard.file},
                    {"tokens", shard.tokens},
                    {"xxhash", shard.hash},
                    {"block", shard.end.block},
                    {"token", shard.end.token}});
  }
  return json;
}

/// The shards that are intact, up to the first that is not.
std::vector<Shard> intact_shards(const nlohmann::json& json,
                                 const std::filesystem::path& folder) {
  std::vector<Shard> shards;
  for (const auto& entry : json) {
    Shard shard{plain_name(entry.at("file")),
                entry.at("tokens"),
                entry.at("xxhash"),
                {entry.at("block"), entry.at("token")}};
    try {
      const TokenFile file(folder / shard.file);
      if (file.size() != shard.tokens || file.hash() != shard.hash) break;
    } catch (const InputError&) {
      break;
    }
    shards.push_back(std::move(shard));
  }
  return shards;
}

Split read_split(const nlohmann::json& json,
                 const std::filesystem::path& folder) {
  Split split;
  split.path = folder / json.at("file").get<std::string>();
  json.at("tokens").get_to(split.tokens);
  json.at("documents").get_to(split.documents);
  json.at("bytes").get_to(split.bytes);
  json.at("xxhash").get_to(split.hash);
  if (!json.contains("shards")) {
    split.shards = {
        {plain_name(json.at("file")), split.tokens, split.hash, {}}};
    return split;
  }
  for (const auto& shard : json.at("shards")) {
    split.shards.push_back({plain_name(shard.at("file")),
                            shard.at("tokens"),
                            shard.at("xxhash"),
                            {}});
  }
  return split;
}

// A source may be a path that is not UTF-8; JSON has to be.
std::string dump(const nlohmann::ordered_json& json) {
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  return json.dump(2, ' ', false, replace) + '\n';
}

/// What a JSON library's exception says, without its own name and number.
std::string reason_of(const nlohmann::json::exception& error) {
  const std::string text = error.what();
  const auto end = text.find("] ");
  return printable(end == std::string::npos ? text : text.substr(end + 2));
}

}  // namespace

std::string as_recorded(const std::string& source) {
  return nlohmann::json::parse(dump(source)).get<std::string>();
}

void write_dataset_json(const PreparedData& data) {
  const nlohmann::ordered_json json = {{"format", kFormat},
                                       {"source", data.source},
                                       {"fingerprint", data.fingerprint},
                                       {"tokenizer", data.tokenizer},
                                       {"vocabulary", data.vocabulary},
                                       {"train", split_json(data.train)},
                                       {"val", split_json(data.val)}};
  write_file_atomically(data.folder / "dataset.json", dump(json));
}

void write_unfinished(const PreparedData& data, const Progress& progress) {
  const nlohmann::ordered_json json = {{"format", kFormat},
                                       {"unfinished", this_process()},
                                       {"source", data.source},
                                       {"fingerprint", data.fingerprint},
                                       {"tokenizer", data.tokenizer},
                                       {"blocks", kBlocks},
                                       {"limit", progress.limit},
                                       {"train", progress_json(progress.train)},
                                       {"val", progress_json(progress.val)}};
  write_file_atomically(data.folder / "dataset.json", dump(json));
}

Progress read_progress(const PreparedData& data, std::uint64_t limit) {
  Progress progress{limit, {}, {}};
  try {
    const auto json =
        nlohmann::json::parse(read_file(data.folder / "dataset.json"));
    if (!json.contains("unfinished") || json.at("format") != kFormat ||
        json.at("blocks") != kBlocks || json.at("limit") != limit ||
        json.at("fingerprint") != data.fingerprint ||
        json.at("tokenizer") != data.tokenizer) {
      return progress;
    }
    progress.train = intact_shards(json.at("train"), data.folder);
    progress.val = intact_shards(json.at("val"), data.folder);
  } catch (const nlohmann::json::exception&) {
    return {limit, {}, {}};
  } catch (const InputError&) {
    return {limit, {}, {}};
  }
  return progress;
}

bool is_foreign(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder / "dataset.json", error)) return false;
  const auto json = nlohmann::json::parse(read_file(folder / "dataset.json"),
                                          nullptr,
                                          /*allow_exceptions=*/false);
  return !json.is_discarded() && !json.empty() && !json.contains("format");
}

PreparedData read_dataset_json(const std::filesystem::path& folder) {
  const auto path = folder / "dataset.json";
  const std::string text = read_file(path);
  try {
    const auto json = nlohmann::json::parse(text);
    const int format = json.at("format");
    require(format == kFormat,
            "{}: format {}; expected {}",
            printable(path.string()),
            format,
            kFormat);
    if (json.contains("unfinished")) {
      fail<Unfinished>(
          "{}: the token files beside it are not all there: {} was preparing "
          "them; prepare them again",
          printable(path.string()),
          printable(json.at("unfinished").get<std::string>()));
    }
    PreparedData data;
    data.folder = folder;
    json.at("source").get_to(data.source);
    json.at("fingerprint").get_to(data.fingerprint);
    json.at("tokenizer").get_to(data.tokenizer);
    json.at("vocabulary").get_to(data.vocabulary);
    data.train = read_split(json.at("train"), folder);
    data.val = read_split(json.at("val"), folder);
    return data;
  } catch (const nlohmann::json::exception& error) {
    fail<InputError>(
        "{}: not as mumoe data writes it: {}; prepare the token files again",
        printable(path.string()),
        reason_of(error));
  }
}

}  // namespace mumoe::data
