#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/attributes.h"

namespace mumoe::data {

/// Side in pixels of the pictures.
inline constexpr int kEmojiSide = 64;
/// Unicode's groups, apart from components that are no emoji by themselves.
inline constexpr int kEmojiGroups = 9;

/// An emoji of Unicode's list.
struct Emoji {
  std::u32string characters;
  std::string name;   ///< "woman: dark skin tone, red hair"
  std::string group;  ///< "People & Body"
};

/// The fully qualified emoji of emoji-test.txt, in its order. Throws
/// `InputError` naming the line that is not of its form.
std::vector<Emoji> read_emoji(std::string_view text,
                              const std::filesystem::path& path);

/// What is told of each: Male, Female (by the words of its name), its skin
/// tone. Forms of hair are few, and of one emoji: on one side.
std::vector<std::string> emoji_attribute_names();
/// A row of those, 0 or 1 each.
std::vector<std::uint8_t> attributes_of(const Emoji& emoji);

/// Whether an emoji is for validation: by a hash of its characters without skin
/// tone, gender, hair and presentation, about one in five. So all forms of one
/// emoji are on one side.
bool emoji_is_for_validation(const Emoji& emoji);

/// Draws each emoji of `list` that `font`, one of colour bitmaps, has, on
/// white, and writes them to `into`: idx files train and val with attributes,
/// classes.txt (the groups), attributes.txt, and names.txt, a line an emoji.
/// The same bytes for any number of threads. Throws `InputError`.
void write_emoji(const std::filesystem::path& font,
                 const std::filesystem::path& list,
                 const std::filesystem::path& into,
                 int threads);

}  // namespace mumoe::data
