#include "imap/bodystructure.h"

#include "imap/mime_text.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

constexpr char kDefaultCharset[] = "\"charset\" \"us-ascii\"";

class Renderer {
 public:
  Renderer(std::string* out, std::vector<uint32_t>* cuts, const std::vector<MimePart>& parts,
           const std::vector<PartDescription>& descriptions)
      : out_(*out), cuts_(*cuts), parts_(parts), descriptions_(descriptions) {}

  // Recursion is as deep as the parts are: kMimeDepthMax.
  void Part(uint32_t index) {
    out_ += '(';
    if (parts_[index].kind == MimePart::Kind::kMultipart) {
      Multipart(index);
    } else {
      SinglePart(index);
    }
    out_ += ')';
  }

 private:
  void Multipart(uint32_t index) {
    const ContentFields& content = descriptions_[index].content;
    for (const uint32_t child : parts_[index].children) Part(child);
    // The syntax wants at least one part.
    if (parts_[index].children.empty()) {
      out_ += "(\"text\" \"plain\" (";
      out_ += kDefaultCharset;
      out_ += ") NIL NIL \"7bit\" 0 0";
      Cut();
      out_ += " NIL NIL NIL NIL";
      Cut();
      out_ += ')';
    }
    out_ += ' ';
    AppendMimeString(&out_, content.type && !content.type->subtype.empty() ? content.type->subtype : "x-unknown");
    Cut();
    out_ += ' ';
    Params(content.type ? content.type->params : MimeParams(), false);
    Extension(content);
    Cut();
  }

  void SinglePart(uint32_t index) {
    const MimePart& part = parts_[index];
    const PartDescription& description = descriptions_[index];
    const ContentFields& content = description.content;
    const bool message = part.kind == MimePart::Kind::kMessage;
    const bool text = !message && (description.opaque || IsText(content));
    if (message) {
      out_ += "\"message\" \"rfc822\"";
    } else if (description.opaque) {
      out_ += "\"text\" \"plain\"";
    } else {
      Type(content, text);
    }
    out_ += ' ';
    Params(content.type && !description.opaque ? content.type->params : MimeParams(), text);
    out_ += ' ';
    AppendMimeNString(&out_, content.id);
    out_ += ' ';
    AppendMimeNString(&out_, content.description);
    out_ += ' ';
    AppendMimeString(&out_, content.encoding ? *content.encoding : "7bit");
    out_ += ' ';
    out_ += std::to_string(part.body.crlf_bytes());
    if (message) {
      const uint32_t child = part.children.front();
      out_ += ' ';
      static const Envelope kNothing;
      AppendEnvelope(&out_, descriptions_[child].envelope ? *descriptions_[child].envelope : kNothing);
      out_ += ' ';
      Part(child);
    }
    if (message || text) {
      out_ += ' ';
      out_ += std::to_string(part.body.newlines);
    }
    Cut();
    out_ += ' ';
    AppendMimeNString(&out_, content.md5);
    Extension(content);
    Cut();
  }

  static bool IsText(const ContentFields& content) {
    return !content.type || EqualsIgnoringCase(content.type->type, "text");
  }

  void Type(const ContentFields& content, bool text) {
    AppendMimeString(&out_, content.type ? content.type->type : "text");
    out_ += ' ';
    if (content.type && !content.type->subtype.empty()) {
      AppendMimeString(&out_, content.type->subtype);
    } else {
      out_ += text ? "\"plain\"" : "\"unknown\"";
    }
  }

  void Params(const MimeParams& params, bool default_charset) {
    bool charset = false, any = false;
    for (const auto& [name, value] : params) {
      out_ += any ? ' ' : '(';
      any = true;
      AppendMimeString(&out_, name);
      out_ += ' ';
      AppendMimeString(&out_, value);
      charset = charset || EqualsIgnoringCase(name, "charset");
    }
    if (default_charset && !charset) {
      out_ += any ? ' ' : '(';
      any = true;
      out_ += kDefaultCharset;
    }
    out_ += any ? ")" : "NIL";
  }

  // Disposition, language, location: the same for every kind.
  void Extension(const ContentFields& content) {
    out_ += ' ';
    if (content.disposition) {
      out_ += '(';
      AppendMimeString(&out_, content.disposition->type);
      out_ += ' ';
      Params(content.disposition->params, false);
      out_ += ')';
    } else {
      out_ += "NIL";
    }
    out_ += ' ';
    if (content.languages.empty()) out_ += "NIL";
    for (size_t i = 0; i < content.languages.size(); ++i) {
      out_ += i == 0 ? '(' : ' ';
      AppendMimeString(&out_, content.languages[i]);
    }
    if (!content.languages.empty()) out_ += ')';
    out_ += ' ';
    AppendMimeNString(&out_, content.location);
  }

  void Cut() { cuts_.push_back(static_cast<uint32_t>(out_.size())); }

  std::string& out_;
  std::vector<uint32_t>& cuts_;
  const std::vector<MimePart>& parts_;
  const std::vector<PartDescription>& descriptions_;
};

}  // namespace

void AppendBodyStructure(std::string* out, std::vector<uint32_t>* cuts, const std::vector<MimePart>& parts,
                         const std::vector<PartDescription>& descriptions, uint32_t index) {
  Renderer(out, cuts, parts, descriptions).Part(index);
}

}  // namespace gemel::imap
