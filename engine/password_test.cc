#include "engine/password.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gemel::engine {
namespace {

using testing::HasSubstr;

bool Verifies(std::string_view password, std::string_view stored) {
  const auto result = VerifyPassword(password, stored);
  EXPECT_TRUE(result.ok()) << stored << ": " << result.status();
  return result.ok() && *result;
}

struct Vector {
  const char* password;
  const char* stored;
  const char* source;
};
constexpr Vector kVectors[] = {
    {"password", "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
     "phc-winner-argon2, src/test.c"},
    {"password", "{ARGON2I}$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
     "phc-winner-argon2, src/test.c"},
    {"U*U", "{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "crypt_blowfish, wrapper.c"},
    {"Hello world!",
     "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/"
     "O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
     "openssl passwd"},
    {"Hello world!", "{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "openssl passwd"},
    {"secret", "{MD5-CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//", "openssl passwd"},
    {"secret", "{CRYPT}abNANd1rDfiNc", "perl crypt()"},
    {"secret", "{SSHA}Wcm1xEisNjqp921ALcHfuQ7avFdzYWx0MTIzNA==", "python hashlib"},
    {"secret", "{SSHA256}HHFWOEJezkwwZZrQIoVYVUeTNNXaoNFrFmwpNSYpENfP3Ga4", "doveadm pw 2.3.19"},
    {"secret",
     "{ssha512}Enu6C74BUnsH3FJ5DbcJeTfPKMqMpMZOm66wJaf/iZqtrDfdcDyFhEmcwbcWyY5CUEDqbpdskEI2yPdeCZGVPXNhbHQxMjM0",
     "python hashlib"},
    {"secret", "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "python hashlib"},
    {"secret", "{SHA256.HEX}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "python hashlib"},
    {"secret", "{SHA512.b64}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
     "python hashlib"},
};

TEST(Password, VerifiesWhatOthersHashed) {
  for (const Vector& vector : kVectors) {
    EXPECT_TRUE(CheckPasswordHash(vector.stored).ok()) << vector.stored << ": " << CheckPasswordHash(vector.stored);
    EXPECT_TRUE(Verifies(vector.password, vector.stored)) << vector.source << ": " << vector.stored;
    EXPECT_FALSE(Verifies(std::string(vector.password) + "x", vector.stored)) << vector.stored;
    EXPECT_FALSE(Verifies("", vector.stored)) << vector.stored;
    EXPECT_FALSE(Verifies(std::string(vector.password) + '\0', vector.stored)) << vector.stored;
  }
}

TEST(Password, HashesAreArgon2idAndSalted) {
  const auto one = HashPassword("correct horse"), two = HashPassword("correct horse");
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_THAT(*one, testing::StartsWith("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"));
  EXPECT_NE(*one, *two);
  EXPECT_TRUE(Verifies("correct horse", *one));
  EXPECT_FALSE(Verifies("correct horsf", *one));
}

TEST(Password, OverlongPasswordsAreRefusedAndNeverMatch) {
  const std::string longest(kPasswordBytesMax, 'p');
  const auto hash = HashPassword(longest);
  ASSERT_TRUE(hash.ok());
  EXPECT_TRUE(Verifies(longest, *hash));
  EXPECT_FALSE(Verifies(longest + "p", *hash));
  EXPECT_TRUE(absl::IsInvalidArgument(HashPassword(longest + "p").status()));
}

TEST(Password, WhatCannotBeVerifiedIsRefusedBeforeItIsStored) {
  for (const char* stored : {
           "",
           "secret",
           "{",
           "{}",
           "{}x",
           "{PLAIN}secret",
           "{CLEARTEXT}secret",
           "{MD5}x",
           "{CRAM-MD5}x",
           "{SHA}x",
           "{ARGON2ID}",
           "{ARGON2ID}secret",
           "{ARGON2ID}$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKI",
           "{ARGON2ID}$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
           "{SHA512-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTt8KbXBH3hsxY/GNooZaBBGWEc8",
           "{SHA512-CRYPT}$6$rounds=999999999$saltstring$x",
           "{BLF-CRYPT}$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh",
           "{CRYPT}",
           "{CRYPT}*",
           "{SSHA256}!!!",
           "{SSHA256}c2hvcnQ=",
           "{SHA256}c2hvcnQ=",
           "{SHA256.HEX}xyz",
           "{SHA256.ROT13}c2hvcnQ=",
           "{ARGON2ID.HEX}00",
       }) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckPasswordHash(stored))) << stored;
    EXPECT_FALSE(VerifyPassword("secret", stored).ok()) << stored;
  }
  EXPECT_THAT(std::string(CheckPasswordHash("{CRAM-MD5}x").message()), HasSubstr("SHA512-CRYPT"));
}

TEST(PasswdFile, IsReadAsDovecotWritesIt) {
  const auto entries = ParsePasswdFile(
      "# a comment\n"
      "\n"
      "a@example.test:{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=:1000:1000::/home/a::userdb_quota=1G\n"
      "b@example.test:{PLAIN}secret\r\n"
      "c@example.test:abNANd1rDfiNc:\n");
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].user, "a@example.test");
  EXPECT_EQ((*entries)[0].hash, "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=");
  EXPECT_EQ((*entries)[0].line, 3);
  EXPECT_THAT((*entries)[1].hash, testing::StartsWith("{ARGON2ID}"));
  EXPECT_TRUE(Verifies("secret", (*entries)[1].hash));
  EXPECT_EQ((*entries)[2].hash, "{CRYPT}abNANd1rDfiNc");
}

TEST(PasswdFile, BadLinesAreNamed) {
  const auto entries = ParsePasswdFile(
      "good:{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=\n"
      "no colon\n"
      ":{PLAIN}x\n"
      "d:{CRAM-MD5}x\n"
      "e:\n");
  ASSERT_FALSE(entries.ok());
  const std::string message(entries.status().message());
  EXPECT_THAT(message, testing::Not(HasSubstr("line 1:")));
  for (const char* line : {"line 2:", "line 3:", "line 4:", "line 5:"}) EXPECT_THAT(message, HasSubstr(line));
}

}  // namespace
}  // namespace gemel::engine
