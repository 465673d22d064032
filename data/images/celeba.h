#pragma once

#include <filesystem>
#include <string>

#include "data/images/file_tree.h"
#include "data/images/image_data.h"

namespace mumoe::data {

// The files of CelebA (Liu et al., "Deep learning face attributes in the wild",
// ICCV 2015): a folder with
//   list_attr_celeba.txt     the number of images, the names of the attributes,
//                            then a line an image: 000001.jpg -1 1 ...
//   list_eval_partition.txt  a line an image: 000001.jpg and 0 for training, 1
//                            for validation, 2 for the test
//   img_align_celeba/        the images, also as .png where the lists say .jpg

/// Whether it is such a folder: it has the list of attributes.
bool has_attribute_lists(const std::filesystem::path& folder);

/// The images of each part, in the order of the lists, labelled by one
/// attribute: 1 where it is true.
struct AttributeTrees {
  FileTree train, val, test;
};

/// Reads the lists, and looks for each image; with `BadImages::skip`, decodes
/// each and leaves out those that cannot be. Throws `InputError`, one line: a
/// list or an image that is missing, counts that disagree, values that are none
/// of the form, an attribute that there is not, a part for training or
/// validation without images.
AttributeTrees read_attribute_folder(const std::filesystem::path& folder,
                                     const std::string& target,
                                     BadImages bad,
                                     Workers& workers);

}  // namespace mumoe::data
