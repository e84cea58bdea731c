#include "smtp/address.h"

#include <gtest/gtest.h>

#include <string>

#include "smtp/trace.h"

namespace gemel::smtp {
namespace {

std::string Parsed(std::string_view text, PathKind kind = PathKind::kForward) {
  const auto path = ParsePath(text, kind);
  return path.ok() ? path->address + "|" + std::string(path->rest) : "malformed";
}

TEST(AddressTest, Paths) {
  EXPECT_EQ(Parsed("<ann@example.test>"), "ann@example.test|");
  EXPECT_EQ(Parsed("<Ann+Work@Example.test> SIZE=3"), "Ann+Work@Example.test| SIZE=3");
  EXPECT_EQ(Parsed("<a.b-c_d!#$%&'*/=?^`{|}~@x.test>"), "a.b-c_d!#$%&'*/=?^`{|}~@x.test|");
  EXPECT_EQ(Parsed("<ann@[192.0.2.1]>"), "ann@[192.0.2.1]|");
  EXPECT_EQ(Parsed("<ann@[IPv6:2001:db8::1]>"), "ann@[IPv6:2001:db8::1]|");
  EXPECT_EQ(Parsed("<ann@[ipv6:::ffff:192.0.2.1]>"), "ann@[ipv6:::ffff:192.0.2.1]|");
  EXPECT_EQ(Parsed("<änn@exämple.test>"), "änn@exämple.test|");
  EXPECT_EQ(Parsed("<a..b.@x.test>"), "a..b.@x.test|") << "real, if not lawful";
  EXPECT_EQ(Parsed("<@a.test,@[192.0.2.1]:ann@x.test>"), "ann@x.test|");
  EXPECT_EQ(Parsed("<PostMaster>"), "PostMaster|");
  EXPECT_EQ(Parsed("<>", PathKind::kReverse), "|");
  EXPECT_EQ(Parsed("<root>", PathKind::kReverse), "root|");
}

TEST(AddressTest, QuotesStayOnlyWhereTheyMust) {
  EXPECT_EQ(Parsed("<\"ann\"@x.test>"), "ann@x.test|");
  EXPECT_EQ(Parsed("<\"a\\nn\"@x.test>"), "ann@x.test|");
  EXPECT_EQ(Parsed("<\"a b\"@x.test>"), "\"a b\"@x.test|");
  EXPECT_EQ(Parsed("<\"a@b\"@x.test>"), "\"a@b\"@x.test|");
  EXPECT_EQ(Parsed("<\"a>b\"@x.test>"), "\"a>b\"@x.test|");
  EXPECT_EQ(Parsed("<\"a\\\"\\\\b\"@x.test>"), "\"a\\\"\\\\b\"@x.test|");
  EXPECT_EQ(Parsed("<\"\"@x.test>"), "\"\"@x.test|");
  EXPECT_EQ(Parsed("<\"..\"@x.test>"), "\"..\"@x.test|");
}

TEST(AddressTest, Malformed) {
  for (const std::string text : {"",
                                 "<",
                                 ">",
                                 "<>",
                                 "ann@x.test",
                                 "<ann>",
                                 "<@x.test>",
                                 "<ann@>",
                                 "<ann@.x>",
                                 "<ann@x.>",
                                 "<ann@x..y>",
                                 "<ann@x.test",
                                 "<ann @x.test>",
                                 "<ann@x test>",
                                 "<a@b@c>",
                                 "<a\\b@c>",
                                 "<(a)b@c>",
                                 "<\"a@x.test>",
                                 "<\"a\"b@x.test>",
                                 "<a\"b\"@x.test>",
                                 "<ann@[1.2.3]>",
                                 "<ann@[IPv6:x]>",
                                 "<ann@[1.2.3.4>",
                                 "<@a.test:>",
                                 "<@a.test;b@c>",
                                 "<@a.test,:b@c>",
                                 "<@:b@c>",
                                 "<\xff@x.test>",
                                 "<a@\xc0\xaf.test>",
                                 "<\"\x01\"@x.test>",
                                 "<\"a\\\x01\"@x.test>",
                                 "<a\x7f@x.test>",
                                 "<\"postmaster@x\">"}) {
    EXPECT_EQ(Parsed(text), "malformed") << text;
  }
  EXPECT_EQ(Parsed("<" + std::string(600, 'a') + "@x.test>"), "malformed");
  EXPECT_EQ(Parsed("<a@" + std::string(256, 'a') + ">"), "malformed");
  EXPECT_EQ(Parsed(std::string("<a\0b@x.test>", 12)), "malformed");
}

TEST(AddressTest, Literals) {
  EXPECT_EQ(AddressLiteral("192.0.2.1"), "[192.0.2.1]");
  EXPECT_EQ(AddressLiteral("2001:db8::1"), "[IPv6:2001:db8::1]");
  EXPECT_EQ(AddressLiteral("unix"), "unix");
}

TEST(AddressTest, Utf8) {
  EXPECT_TRUE(IsValidUtf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"));
  for (const char* text :
       {"\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3("}) {
    EXPECT_FALSE(IsValidUtf8(text));
  }
}

TEST(TraceTest, DatesAndNames) {
  EXPECT_EQ(MailDate(0), "Thu, 01 Jan 1970 00:00:00 +0000");
  EXPECT_EQ(MailDate(1'709'251'199), "Thu, 29 Feb 2024 23:59:59 +0000");
  TraceFields fields;
  fields.helo = "a(b)\nX: y";
  fields.peer_address = "unix";
  fields.host_name = "h";
  fields.protocol = "LMTP";
  fields.id = "1";
  const std::string trace = TraceHeaders(fields);
  EXPECT_NE(trace.find("Received: from a?b??X:?y (unix)\n\tby h (Gemel) with LMTP id 1\n"), std::string::npos) << trace;
  EXPECT_TRUE(trace.starts_with("Return-Path: <>\n"));
}

}  // namespace
}  // namespace gemel::smtp
