// Loads a SavedModel as TensorFlow Serving does, runs a signature that takes files, and prints one line a file:
//
//     load_saved_model MODEL/VERSION SIGNATURE INPUT OUTPUT FILE...
//
// prints the status, then the numbers of OUTPUT, separated by blanks. No Python takes part.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

int main(int argc, char** argv) {
  tensorflow::SavedModelBundle bundle;
  auto status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) return std::cerr << status.ToString() << std::endl, 1;
  const auto& signature = bundle.GetSignatures().at(argv[2]);

  tensorflow::Tensor files(tensorflow::DT_STRING, {argc - 5});
  for (int i = 5; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    files.vec<tensorflow::tstring>()(i - 5) = std::string(std::istreambuf_iterator<char>(file), {});
  }
  std::vector<tensorflow::Tensor> outputs;
  status = bundle.GetSession()->Run({{signature.inputs().at(argv[3]).name(), files}},
                                    {signature.outputs().at("status").name(), signature.outputs().at(argv[4]).name()},
                                    {}, &outputs);
  if (!status.ok()) return std::cerr << status.ToString() << std::endl, 1;
  std::cout.precision(9);
  for (int i = 0; i < argc - 5; ++i) {
    std::cout << '"' << outputs[0].vec<tensorflow::tstring>()(i) << '"';
    for (int j = 0; j < outputs[1].dim_size(1); ++j) std::cout << ' ' << outputs[1].matrix<float>()(i, j);
    std::cout << std::endl;
  }
}
