#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>

#include "data/features/feature_data.h"
#include "data/fetch.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

template <class Number>
std::string bytes_of(const std::vector<Number>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(Number)};
}

/// A .safetensors file, its tensors one after the other.
struct Written {
  std::string header;
  std::string bytes;

  Written& add(const std::string& name,
               const std::string& dtype,
               const std::string& shape,
               const std::string& tensor) {
    header += fmt::format(
        R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
        header.empty() ? "" : ",",
        name,
        dtype,
        shape,
        bytes.size(),
        bytes.size() + tensor.size());
    bytes += tensor;
    return *this;
  }
  std::string file() const {
    const std::string head = "{" + header + "}";
    return bytes_of<std::uint64_t>({head.size()}) + head + bytes;
  }
};

using Numbers = std::vector<std::int64_t>;

/// 3 features of 2 numbers for training.
Written train_file() {
  Written file;
  file.add("features", "F32", "3,2", bytes_of<float>({1, 2, 3, 4, 5, -0.25f}))
      .add("index", "I64", "3", bytes_of(Numbers{7, 0, 40}))
      .add("labels", "I64", "3", bytes_of(Numbers{2, 0, 1}));
  return file;
}

/// 1 for validation, in fp16.
Written val_file() {
  Written file;
  file.add("features", "F16", "1,2", bytes_of<std::uint16_t>({0x3c00, 0xc100}))
      .add("index", "I64", "1", bytes_of(Numbers{5}))
      .add("labels", "I64", "1", bytes_of(Numbers{1}));
  return file;
}

/// A folder of `train` and `val`, whose features.json says what `change` makes
/// of the truth.
struct Folder {
  explicit Folder(
      const Written& train = train_file(),
      const Written& val = val_file(),
      const std::function<void(FeatureFacts&)>& change = [](auto&) {}) {
    FeatureFacts facts{.source = "fashion-mnist",
                       .backbone = "a net",
                       .backbone_hash = "12",
                       .image_size = 96,
                       .width = 2,
                       .class_names = {"a", "b", "c"},
                       .train = {3, 50, "aa", sha256_of_bytes(train.file())},
                       .val = {1, 9, "bb", sha256_of_bytes(val.file())}};
    scratch.write("train.safetensors", train.file());
    scratch.write("val.safetensors", val.file());
    change(facts);
    write_feature_facts(scratch.path(), facts);
  }
  std::string path() const { return scratch.path().string(); }
  FeatureData open() const { return open_features(path()); }
  void refused(std::initializer_list<std::string> parts) const {
    expect_input_error([&] { open(); }, parts);
  }

  ScratchFolder scratch;
};

TEST(Features, AreReadBack) {
  const Folder folder;
  const FeatureData data = folder.open();
  EXPECT_EQ(data.facts.class_names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(data.facts.train.of, 50);
  ASSERT_EQ(data.train->size(), 3u);
  const auto batch = data.train->make(std::vector<std::uint64_t>{2, 3, 1});
  EXPECT_EQ(batch.samples, 3);
  EXPECT_EQ(std::get<std::vector<float>>(batch.input),
            (std::vector<float>{5, -0.25f, 1, 2, 3, 4}));  // 3: row 0 again
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(batch.target),
            (std::vector<std::int32_t>{1, 2, 0}));
  EXPECT_EQ(data.train->image(2), 40);
  EXPECT_EQ(data.train->image(3), 7);
  EXPECT_EQ(data.train->attributes(), nullptr);
  const auto val = data.val->make(std::vector<std::uint64_t>{0});
  EXPECT_EQ(std::get<std::vector<float>>(val.input),
            (std::vector<float>{1, -2.5f}));
  const FeatureShape shape = feature_shape(folder.path());
  EXPECT_EQ(shape.width, 2);
  EXPECT_EQ(shape.classes, 3);
  EXPECT_EQ(feature_shape("speeches").width, 0);
}

TEST(Features, BringAttributesAlong) {
  const std::string rows("\1\0\0\1\1\1", 6);
  const Folder folder(
      train_file().add("attributes", "U8", "3,2", rows),
      val_file().add("attributes", "U8", "1,2", rows.substr(0, 2)),
      [](FeatureFacts& facts) {
        facts.attributes = {"Male", "Young"};
      });
  const FeatureData data = folder.open();
  const Attributes* attributes = data.train->attributes();
  ASSERT_NE(attributes, nullptr);
  EXPECT_EQ(attributes->images(), 3u);
  EXPECT_TRUE(attributes->at(0, 0));
  EXPECT_FALSE(attributes->at(0, 1));
  EXPECT_FALSE(attributes->at(1, 0));
  EXPECT_TRUE(attributes->at(2, 1));
}

TEST(Features, AreRefusedWhereTheyDoNotFitWhatIsSaidOfThem) {
  const auto refused = [](const std::function<void(FeatureFacts&)>& change,
                          std::initializer_list<std::string> parts) {
    Folder(train_file(), val_file(), change).refused(parts);
  };
  refused([](auto& f) { f.width = 3; },
          {"train.safetensors", "width 2", "expected 3"});
  refused([](auto& f) { f.train.samples = 4; }, {"3 rows", "expected 4"});
  refused(
      [](auto& f) {
        f.class_names = {"a", "b"};
      },
      {"label 2 in row 0", "expected 0 to 1"});
  refused([](auto& f) { f.val.sha256 = "77"; },
          {"val.safetensors", "sha256", "expected 77"});
  refused([](auto& f) { f.attributes = {"Male"}; },
          {"0 attributes", "expected 1"});
  refused([](auto& f) { f.class_names = {}; }, {"features.json", "0 classes"});
  expect_input_error([] { open_features("/nowhere"); },
                     {"features /nowhere", "no features.json", "--features"});
}

TEST(Features, AreRefusedFromBrokenFiles) {
  const auto refused = [](const Written& train,
                          std::initializer_list<std::string> parts) {
    Folder(train).refused(parts);
  };
  Written file;
  file.add("features", "F32", "1,2", bytes_of<float>({1, 2}));
  refused(file, {"no tensor labels", "expected features, labels and index"});
  file.add("labels", "I64", "1", bytes_of(Numbers{1}));
  refused(file, {"no tensor index"});
  file.add("index", "I64", "2", bytes_of(Numbers{1, 2}));
  refused(file, {"1 rows of features, 1 labels and 2 of index"});
  file = {};
  file.add("features", "F64", "1,1", bytes_of<double>({1}));
  refused(file, {"features is F64", "F32 or F16"});
  file = train_file();
  file.bytes.resize(file.bytes.size() - 1);
  refused(file, {"train.safetensors", "truncated"});
  file = train_file();
  file.header = "}";
  refused(file, {"its header", "is not JSON"});
  const Folder folder;
  folder.scratch.write("train.safetensors", train_file().file().substr(0, 5));
  folder.refused({"5 bytes", "truncated"});
  folder.scratch.write("train.safetensors", "");
  folder.refused({"0 bytes"});
  folder.scratch.write("features.json", R"({"format": 1, "width": "x"})");
  folder.refused({"features.json", "not as mumoe data writes it"});
  folder.scratch.write("features.json", R"({"format": 2})");
  folder.refused({"format 2", "prepare the features again"});
}

TEST(Features, OfHalfPrecisionHaveTheirValues) {
  EXPECT_EQ(half_to_float(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(half_to_float(0x03ff), std::ldexp(1023.0f, -24));
  EXPECT_EQ(half_to_float(0x0400), std::ldexp(1.0f, -14));
  EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(half_to_float(0x8000), 0.0f);
  EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
  EXPECT_EQ(half_to_float(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(half_to_float(0x7e00)));
}

}  // namespace
}  // namespace mumoe::data
