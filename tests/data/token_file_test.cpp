#include "data/text/token_file.h"

#include <sys/stat.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "base/file.h"
#include "tests/support/errors.h"
#include "tests/support/scratch.h"

namespace mumoe::data {
namespace {

using testing::expect_input_error;
using testing::ScratchFolder;

using Tokens = std::vector<std::uint16_t>;

std::string llmc_bytes(std::int32_t version,
                       std::int32_t count,
                       const Tokens& tokens) {
  std::vector<std::int32_t> header(256);
  header[0] = 20240520;
  header[1] = version;
  header[2] = count;
  std::string bytes(1024 + 2 * tokens.size(), '\0');
  std::memcpy(bytes.data(), header.data(), 1024);
  std::memcpy(bytes.data() + 1024, tokens.data(), 2 * tokens.size());
  return bytes;
}

Tokens read(const TokenFile& file) {
  return {file.tokens().begin(), file.tokens().end()};
}

TEST(TokenFile, ReadsBothForms) {
  const ScratchFolder folder;
  const Tokens tokens{5, 0, 65535, 50256};
  const TokenFile llmc(folder.write("a.bin", llmc_bytes(1, 4, tokens)));
  EXPECT_EQ(read(llmc), tokens);
  EXPECT_EQ(llmc[2], 65535);
  const std::string bare(reinterpret_cast<const char*>(tokens.data()), 8);
  const TokenFile nanogpt(folder.write("b.bin", bare));
  EXPECT_EQ(read(nanogpt), tokens);
  EXPECT_EQ(nanogpt.size(), 4u);
}

TEST(TokenFile, WhatIsWrittenIsLlmcsForm) {
  const ScratchFolder folder;
  const Tokens tokens{1, 2, 3, 40000, 5};
  const auto path = folder.path() / "t.bin";
  write_token_file(path, tokens);
  EXPECT_EQ(read_file(path), llmc_bytes(1, 5, tokens));
  EXPECT_EQ(read(TokenFile(path)), tokens);
}

TEST(TokenFile, CopiesAndRefusesToReachBeyondTheEnd) {
  const ScratchFolder folder;
  Tokens tokens(100);
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto path = folder.path() / "t.bin";
  write_token_file(path, tokens);
  const TokenFile file(path);
  std::vector<std::int32_t> narrow(3);
  file.copy(97, narrow);
  EXPECT_EQ(narrow, (std::vector<std::int32_t>{97, 98, 99}));
  std::vector<std::int64_t> wide(2);
  file.copy(0, wide);
  EXPECT_EQ(wide, (std::vector<std::int64_t>{0, 1}));
  expect_input_error([&] { file.copy(98, narrow); }, {path.string(), "100"});
  expect_input_error([&] { file.copy(~0ull, narrow); }, {path.string()});
}

TEST(TokenFile, EachDefectIsNamedWithThePath) {
  const ScratchFolder folder;
  const auto refuse = [&](std::string_view bytes,
                          std::initializer_list<std::string> parts) {
    const auto path = folder.write("bad.bin", bytes);
    expect_input_error([&] { TokenFile{path}; }, parts);
    expect_input_error([&] { TokenFile{path}; }, {path.string(), "expected"});
  };
  const Tokens tokens{1, 2, 3};
  refuse("", {"0 bytes"});
  refuse("abc", {"3 bytes", "even"});
  refuse(llmc_bytes(2, 3, tokens), {"version 2", "expected 1"});
  refuse(llmc_bytes(1, 4, tokens), {"6 bytes", "4 tokens"});
  refuse(llmc_bytes(1, 2, tokens), {"6 bytes", "2 tokens"});
  refuse(llmc_bytes(1, -1, tokens), {"-1 tokens"});
  refuse(llmc_bytes(1, 3, tokens).substr(0, 1029), {"5 bytes"});
  refuse(llmc_bytes(1, 3, tokens).substr(0, 1024), {"1024 bytes"});
  refuse(llmc_bytes(1, 3, tokens).substr(0, 10), {"10 bytes", "header"});
  const auto missing = folder.path() / "missing.bin";
  expect_input_error([&] { TokenFile{missing}; },
                     {missing.string(), "No such file"});
  expect_input_error([&] { TokenFile{folder.path()}; },
                     {folder.path().string(), "not a file"});
  expect_input_error([&] { write_token_file(missing, {}); },
                     {missing.string(), "0 tokens"});
}

TEST(TokenFile, TheFirstTokenOutsideTheVocabularyIsNamed) {
  const ScratchFolder folder;
  Tokens tokens(200000, 7);
  tokens[150001] = 300;
  tokens[150002] = 301;
  const auto path = folder.path() / "t.bin";
  write_token_file(path, tokens);
  const TokenFile file(path);
  EXPECT_NO_THROW(file.check_vocabulary(302));
  EXPECT_NO_THROW(file.check_vocabulary(65536));
  expect_input_error([&] { file.check_vocabulary(300); },
                     {path.string(), "token 300", "position 150001"});
}

TEST(TokenFile, HashIsXxh64AndFollowsTheContent) {
  // XXH64 of nothing with seed 0, from the algorithm's specification.
  EXPECT_EQ(hash_hex(""), "ef46db3751d8e999");
  const ScratchFolder folder;
  const auto a = folder.path() / "a.bin";
  const auto b = folder.path() / "b.bin";
  write_token_file(a, Tokens{1, 2});
  write_token_file(b, Tokens{1, 3});
  EXPECT_NE(TokenFile(a).hash(), TokenFile(b).hash());
  EXPECT_EQ(TokenFile(a).hash(), hash_hex(read_file(a)));
}

TEST(TokenFile, MovesItsMapping) {
  const ScratchFolder folder;
  write_token_file(folder.path() / "a.bin", Tokens{1, 2});
  write_token_file(folder.path() / "b.bin", Tokens{3});
  TokenFile a(folder.path() / "a.bin");
  TokenFile moved(std::move(a));
  EXPECT_EQ(read(moved), (Tokens{1, 2}));
  moved = TokenFile(folder.path() / "b.bin");
  EXPECT_EQ(read(moved), Tokens{3});
}

/// `values` as the integers `Int`, little-endian.
template <class Int>
std::string integers(const Tokens& values) {
  std::string bytes;
  for (const Int value : values) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

TEST(TokenFile, OtherFormsAreRecognisedAndNamed) {
  const ScratchFolder folder;
  const auto refuse = [&](std::string_view bytes, const std::string& form) {
    const auto path = folder.write("train.bin", bytes);
    expect_input_error([&] { TokenFile{path}; },
                       {path.string(), form, "expected tokens of 16 bits"});
  };
  Tokens tokens(1000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = i * 7919 % 50257;
  refuse(integers<std::uint32_t>(tokens), "32 bits");
  refuse(integers<std::int64_t>(tokens), "64 bits");
  std::string wide = integers<std::uint32_t>(tokens);
  for (std::size_t i = 2; i < wide.size(); i += 12) wide[i] = 1;  // up to 128k
  refuse(wide, "32 bits");
  refuse(integers<float>(tokens), "float32");
  std::string swapped;  // frequent tokens are small ones
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::uint16_t token = tokens[i] % (i % 3 ? 500 : 50257);
    swapped += {static_cast<char>(token >> 8), static_cast<char>(token)};
  }
  refuse(swapped, "big-endian");
  const std::string bare = integers<std::uint16_t>(tokens);
  refuse("PAR1" + bare, "Parquet");
  refuse("\x93NUMPY\x01" + bare, ".npy");
  refuse("\x1f\x8b\x08" + bare, "gzip");
  refuse("It was the best of times, it was the worst of times. Na\xc3\xafve.",
         "a text");
  std::string llama = llmc_bytes(7, 4, {1, 0, 2, 0, 3, 0, 4, 0});
  const std::int32_t magic = 20240801;
  std::memcpy(llama.data(), &magic, sizeof magic);
  refuse(llama, "Llama 3");
  EXPECT_EQ(TokenFile(folder.write("good.bin", bare)).size(), 1000u);
}

TEST(TokenFile, TokensOf16BitsAreNotTakenForAnotherForm) {
  const ScratchFolder folder;
  const auto accept = [&](const Tokens& tokens) {
    const auto path = folder.write("t.bin", integers<std::uint16_t>(tokens));
    EXPECT_EQ(read(TokenFile(path)), tokens);
  };
  Tokens bytes, digits, nothing(64, 0), wide(2000);
  for (int i = 0; i < 500; ++i) bytes.push_back(i % 5 ? 'a' + i % 26 : 0);
  for (int i = 0; i < 500; ++i) digits.push_back(i % 3);
  for (int i = 0; i < 2000; ++i) wide[i] = i * 7919 % 50257;
  for (const Tokens& tokens : {bytes, digits, nothing, wide}) accept(tokens);
}

TEST(TokenFile, APipeDoesNotHang) {
  const ScratchFolder folder;
  const auto path = folder.path() / "train.bin";
  ASSERT_EQ(::mkfifo(path.c_str(), 0644), 0);
  expect_input_error([&] { TokenFile{path}; }, {path.string(), "not a file"});
}

}  // namespace
}  // namespace mumoe::data
