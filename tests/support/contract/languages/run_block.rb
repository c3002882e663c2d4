# Asks the functions of a Ruby block of the documents about a genuine delivery and a forged one. Arguments: the block's file, and a JSON
# object with `secret`, `headers`, `body`, `forged`. Prints a list of [genuine, forged] verdicts.
require "json"
require File.expand_path(ARGV[0])

given = JSON.parse(ARGV[1])
bodies = given.values_at("body", "forged").map(&:b)
signature = given["headers"]["x-webhook-signature"]
puts JSON.generate([
  bodies.map { |body| verify_data(body, signature, given["secret"]) },
  bodies.map { |body| verify_standard(body, given["headers"], given["secret"]) }
])
