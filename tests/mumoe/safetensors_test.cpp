#include "mumoe/safetensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/scratch.h"

namespace mumoe {
namespace {

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void expect_refused(const std::string& bytes, const std::string& reason) {
    write_file_atomically(path_, bytes);
    try {
      read_safetensors(path_);
      FAIL() << "was read: " << reason;
    } catch (const InputError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(path_.string()), std::string::npos) << text;
      EXPECT_NE(text.find(reason), std::string::npos) << text;
    }
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() /
      fmt::format("mumoe_safetensors_test_{}", ::getpid());
  std::filesystem::path path_ = folder_ / "file.safetensors";
};

TEST_F(Safetensors, ComeBackAsTheyWere) {
  NamedTensors named;
  named.metadata = {{"step", "7"}, {"text", "quotes \" and \n lines"}};
  for (const auto type :
       {at::kDouble, at::kFloat, at::kBFloat16, at::kLong, at::kInt}) {
    named.tensors[c10::toString(type)] =
        at::arange(6, at::kDouble).view({2, 3}).to(type);
  }
  named.tensors["transposed"] = at::arange(6, at::kDouble).view({2, 3}).t();
  named.tensors["empty"] = at::empty({0, 3});
  named.tensors["scalar"] = at::scalar_tensor(2.5);
  write_safetensors(path_, named);
  const NamedTensors read = read_safetensors(path_);
  EXPECT_EQ(read.metadata, named.metadata);
  EXPECT_EQ(read_safetensors_metadata(path_), named.metadata);
  ASSERT_EQ(read.tensors.size(), named.tensors.size());
  for (const auto& [name, tensor] : named.tensors) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read.at(name), tensor)) << name;
  }
}

TEST_F(Safetensors, BrokenFilesAreNamed) {
  NamedTensors named;
  named.tensors["w"] = at::ones({4});
  write_safetensors(path_, named);
  const std::string good = read_file(path_);
  expect_refused(good.substr(0, good.size() - 1), "outside the file");
  expect_refused(good.substr(0, 20), "truncated");
  expect_refused("abc", "truncated");
  std::string broken = good;
  broken[8] = 'x';
  expect_refused(broken, "not JSON");
  broken = good;
  broken.replace(broken.find("F32"), 3, "F99");
  expect_refused(broken, "F99");
  EXPECT_THROW(read_safetensors(folder_ / "missing"), InputError);
  EXPECT_THROW(named.at("v"), InputError);
}

/// A file of this header and so many bytes of data.
std::string with_header(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + std::string(data, '\0');
}

TEST_F(Safetensors, HeadersThatDoNotDescribeTheFileAreRefused) {
  const auto refused = [&](const std::string& header,
                           const std::string& reason) {
    SCOPED_TRACE(header.substr(0, 100));
    expect_refused(with_header(header, 8), reason);
  };
  const auto entry = [](const std::string& shape, const std::string& offsets) {
    return R"({"w":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  refused("", "not JSON");
  refused("[]", "no object");
  refused("{\"w\":7}", "expected an object");
  refused("{\"w\":{}}", "dtype");
  refused(R"({"w":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "dtype");
  refused(entry("2", "[0,8]"), "shape");
  refused(entry("[2.0]", "[0,8]"), "shape has 2.0");
  refused(entry("[-2]", "[0,8]"), "shape has -2");
  refused(entry("[1e300]", "[0,8]"), "shape");
  refused(entry("[18446744073709551615]", "[0,8]"), "shape");
  refused(entry("[\"2\"]", "[0,8]"), "shape");
  refused(entry("[[[2]]]", "[0,8]"), "shape has array");
  refused(entry("[9223372036854775807]", "[0,8]"), "for its shape");
  refused(entry("[4294967296,4294967296]", "[0,0]"), "for its shape");
  refused(entry("[0,4294967296,4294967296]", "[0,0]"), "for its shape");
  refused(entry("[3]", "[0,8]"), "8 bytes, expected 12");
  refused(entry("[2]", "[0]"), "data_offsets");
  refused(entry("[2]", "[0,8,8]"), "data_offsets");
  refused(entry("[2]", "[8,0]"), "data_offsets");
  refused(entry("[2]", "[-8,0]"), "data_offsets");
  refused(entry("[2]", "{\"0\":0}"), "data_offsets");
  refused(entry("[2]", "[4,12]"), "outside the file");
  refused(entry("[1]", "[4,8]"), "begins at byte 4; expected 0");
  refused(entry("[1]", "[0,4]"), "4 bytes behind the last tensor");
  refused("{}", "8 bytes behind the last tensor");
  refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          "tensor b: begins at byte 4; expected 8");
  refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
          R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          "two entries named w");
  refused(R"({"__metadata__":{"a":1}})", "__metadata__: a: expected text");
  refused(R"({"__metadata__":[]})", "expected an object");
  refused("{\"\xe9\":7}", "not JSON");
  refused(std::string(500'000, '['), "not JSON");

  std::string huge = with_header("{}", 0);
  huge[7] = '\x40';
  expect_refused(huge, "too few for its header");
  EXPECT_THROW(read_safetensors(folder_), InputError);
  // Metadata alone are read from a whole header, too.
  write_file_atomically(path_, with_header(entry("[1]", "[4,8]"), 8));
  EXPECT_THROW(read_safetensors_metadata(path_), InputError);
}

TEST_F(Safetensors, AHeaderBeyondTheFormatsLimitIsNotRead) {
  write_file_atomically(path_, with_header("{}", 0));
  const std::uint64_t length = 200'000'000;
  std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary)
      .write(reinterpret_cast<const char*>(&length), sizeof(length));
  std::filesystem::resize_file(path_, 8 + length);  // holes: takes no space
  try {
    read_safetensors(path_);
    FAIL() << "was read";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("at most 100000000"),
              std::string::npos)
        << error.what();
  }
}

// Whatever happens to a file, it is read or refused with one line.
RC_GTEST_PROP(SafetensorsProperty, DamagedFilesAreReadOrNamed, ()) {
  static const std::string good = [] {
    const testing::ScratchFolder folder;
    NamedTensors named;
    named.metadata = {{"step", "7"}, {"settings", "{\"a\":\"b\"}"}};
    named.tensors["a.weight"] = at::ones({3, 4}, at::kBFloat16);
    named.tensors["b"] = at::ones({5});
    named.tensors["c"] = at::empty({0, 3});
    write_safetensors(folder.path() / "f", named);
    return read_file(folder.path() / "f");
  }();
  std::string bytes = good;
  const int changes = *rc::gen::inRange(1, 6);
  for (int i = 0; i < changes; ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, bytes.size());
    if (*rc::gen::arbitrary<bool>()) {
      bytes[at] ^= static_cast<char>(1 << *rc::gen::inRange(0, 8));
    } else {
      bytes[at] = *rc::gen::elementOf(std::string("0123456789-.e{}[]\",:\0"));
    }
  }
  const testing::ScratchFolder folder;
  const auto path = folder.write("f", bytes);
  for (const bool whole : {true, false}) {
    try {
      whole ? void(read_safetensors(path))
            : void(read_safetensors_metadata(path));
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).starts_with(path.string()));
    }
  }
}

}  // namespace
}  // namespace mumoe
