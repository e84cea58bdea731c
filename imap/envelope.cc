#include "imap/envelope.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <utility>

#include "imap/mime_text.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

void AppendAddresses(std::string* out, const std::vector<Address>& addresses) {
  if (addresses.empty()) {
    *out += "NIL";
    return;
  }
  *out += '(';
  for (const Address& address : addresses) {
    *out += '(';
    if (address.name) {
      AppendHumanString(out, *address.name);
    } else {
      *out += "NIL";
    }
    for (const auto* text : {&address.route, &address.mailbox, &address.host}) {
      *out += ' ';
      AppendMimeNString(out, *text);
    }
    *out += ')';
  }
  *out += ')';
}

// Walks over what AppendEnvelope wrote. Every method returns false at anything else.
class EnvelopeReader {
 public:
  explicit EnvelopeReader(std::string_view text) : text_(text) {}

  bool Take(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool NString(std::optional<std::string>* out) {
    out->reset();
    if (text_.substr(0, 3) == "NIL") {
      text_.remove_prefix(3);
      return true;
    }
    return Is('{') ? Literal(out) : Quoted(out);
  }
  bool Addresses(std::string* out) {
    if (text_.substr(0, 3) == "NIL") {
      text_.remove_prefix(3);
      return true;
    }
    if (!Take('(')) return false;
    bool separate = false;
    while (!Take(')')) {
      std::optional<std::string> name, route, mailbox, host;
      if (!Take('(') || !NString(&name) || !Take(' ') || !NString(&route) || !Take(' ') || !NString(&mailbox) ||
          !Take(' ') || !NString(&host) || !Take(')')) {
        return false;
      }
      if (!host) {
        // A group begins with its name, and ends with nothing at all.
        if (mailbox) *out += (separate ? ", " : "") + *mailbox + ": ";
        if (!mailbox) *out += ';';
        separate = !mailbox;
        continue;
      }
      if (separate) *out += ", ";
      separate = true;
      AppendOne(out, name, mailbox, *host);
    }
    return true;
  }

 private:
  bool Is(char c) const { return !text_.empty() && text_[0] == c; }
  bool Literal(std::optional<std::string>* out) {
    text_.remove_prefix(1);
    size_t bytes = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), bytes);
    if (error != std::errc()) return false;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    if (text_.substr(0, 3) != "}\r\n" || text_.size() - 3 < bytes) return false;
    *out = std::string(text_.substr(3, bytes));
    text_.remove_prefix(3 + bytes);
    return true;
  }
  bool Quoted(std::optional<std::string>* out) {
    if (!Take('"')) return false;
    std::string value;
    while (!text_.empty() && text_[0] != '"') {
      if (text_[0] == '\\') text_.remove_prefix(1);
      if (text_.empty()) return false;
      value += text_[0];
      text_.remove_prefix(1);
    }
    *out = std::move(value);
    return Take('"');
  }
  static void AppendOne(std::string* out, const std::optional<std::string>& name,
                        const std::optional<std::string>& mailbox, const std::string& host) {
    const bool has_mailbox = mailbox && *mailbox != "MISSING_MAILBOX";
    const bool has_host = host != "MISSING_DOMAIN" && host != "SYNTAX_ERROR";
    if (name) *out += *name;
    if (!has_mailbox && !has_host) return;
    if (name) *out += " <";
    if (has_mailbox) *out += *mailbox;
    if (has_host) *out += "@" + host;
    if (name) *out += ">";
  }

  std::string_view text_;
};

}  // namespace

void AddEnvelopeField(const HeaderField& field, Envelope* envelope, size_t* addresses_left) {
  const auto is = [&field](std::string_view name) { return EqualsIgnoringCase(field.name, name); };
  std::optional<std::string>* text = nullptr;
  std::vector<Address>* addresses = nullptr;
  if (field.name.empty()) return;
  switch (field.name[0] | 0x20) {
    case 'd':
      if (is("Date")) text = &envelope->date;
      break;
    case 's':
      if (is("Subject")) text = &envelope->subject;
      if (is("Sender")) addresses = &envelope->sender;
      break;
    case 'f':
      if (is("From")) addresses = &envelope->from;
      break;
    case 'r':
      if (is("Reply-To")) addresses = &envelope->reply_to;
      break;
    case 't':
      if (is("To")) addresses = &envelope->to;
      break;
    case 'c':
      if (is("Cc")) addresses = &envelope->cc;
      break;
    case 'b':
      if (is("Bcc")) addresses = &envelope->bcc;
      break;
    case 'i':
      if (is("In-Reply-To")) text = &envelope->in_reply_to;
      break;
    case 'm':
      if (is("Message-ID")) text = &envelope->message_id;
      break;
    default:
      break;
  }
  if (text != nullptr) *text = Unfold(field.value);
  if (addresses != nullptr) {
    std::vector<Address> more = ParseAddresses(field.value, *addresses_left);
    *addresses_left -= std::min(*addresses_left, more.size());
    addresses->insert(addresses->end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
}

void AppendEnvelope(std::string* out, const Envelope& envelope) {
  *out += '(';
  AppendMimeNString(out, envelope.date);
  *out += ' ';
  if (envelope.subject) {
    AppendHumanString(out, *envelope.subject);
  } else {
    *out += "NIL";
  }
  const auto& from = envelope.from;
  for (const auto* list :
       {&from, envelope.sender.empty() ? &from : &envelope.sender,
        envelope.reply_to.empty() ? &from : &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc}) {
    *out += ' ';
    AppendAddresses(out, *list);
  }
  *out += ' ';
  AppendMimeNString(out, envelope.in_reply_to);
  *out += ' ';
  AppendMimeNString(out, envelope.message_id);
  *out += ')';
}

std::optional<std::string> FieldOfEnvelope(std::string_view rendered, EnvelopeField field) {
  EnvelopeReader in(rendered);
  if (!in.Take('(')) return std::nullopt;
  for (int i = 0; i <= static_cast<int>(EnvelopeField::kMessageId); ++i) {
    if (i > 0 && !in.Take(' ')) return std::nullopt;
    const auto at = static_cast<EnvelopeField>(i);
    if (at >= EnvelopeField::kFrom && at <= EnvelopeField::kBcc) {
      std::string addresses;
      if (!in.Addresses(&addresses)) return std::nullopt;
      if (at == field) return addresses;
    } else {
      std::optional<std::string> text;
      if (!in.NString(&text)) return std::nullopt;
      if (at == field) return text;
    }
  }
  return std::nullopt;
}

}  // namespace gemel::imap
