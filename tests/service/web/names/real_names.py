"""Names as files have them, each with the encodings that old clients send it in."""

from __future__ import annotations

_TABLE = {
    "gb18030": "李明.doc 周杰伦.mp3 王.txt 王伟.doc 张伟.txt 陈奕迅.mp3 "
    "测试.txt 报告.pdf 中文.txt 简历.doc 合同.docx 总结.doc 发票.jpg 照片.jpg 资料.zip 新建文本文档.txt "
    "工作计划.xls 会议纪要.doc 财务报表2023.xlsx 产品说明书_v2.pdf 张三_简历.doc 报告（终稿）.docx",
    "cp950": "中文.txt 報告.pdf 履歷表.doc 資料.zip 會議記錄.doc 新文字文件.txt 使用手冊.pdf 台北.jpg",
    "cp932": "テスト.txt 日本語.txt レポート.pdf 報告書.doc 資料.zip 請求書2023.xls 写真.jpg 議事録.doc "
    "ソース.txt 予定表.xls 能力表.doc 新しいテキスト.txt ドキュメント(1).docx",
    "euc_jp": "テスト.txt 日本語.txt はじめに.txt データ一覧.xls",
    "cp949": "한글.txt 테스트.txt 보고서.hwp 이력서.doc 자료.zip 사진.jpg 계약서_최종.docx 대한민국.pdf",
    "cp1251": "Привет.txt Отчёт.docx Договор.doc Резюме.pdf документ.txt Москва.jpg",
    "koi8_r": "Привет.txt Договор.doc документ.txt Москва.jpg",
    "cp1252": "naïve_café.txt résumé.pdf Müller.doc Übung.txt größe.txt São_Paulo.jpg ação.txt España.txt Ångström.txt "
    "crème_brûlée.jpg Noël.jpg smörgåsbord.txt fjörður.txt jalapeño.txt 10€.txt 5€.txt é.txt "
    "Tschüß.txt Straße.txt Grüße.txt Übung_1.doc São_Paulo.txt Ærø.txt señor.txt Mär.txt città.txt très_bien.txt "
    "père.txt coração.doc Reykjavík.jpg rød_grød.txt don’t.txt l’été.txt García.txt González.txt François.doc "
    "ÜBERSICHT.pdf",
    "cp1253": "Ελλάδα.txt αναφορά.doc Αθήνα.jpg έγγραφο.pdf",
    "cp1255": "ישראל.jpg חשבונית.pdf",
    "cp1256": "تقرير.pdf السعودية.jpg",
    "cp874": "ภาษาไทย.txt รายงาน.doc ทดสอบ.txt เอกสาร.pdf",
}

LEGACY = [(name.replace("_", " "), codec) for codec, names in _TABLE.items() for name in names.split()]
"""Name and encoding: each is recognised with no hint."""

UTF8 = [
    *dict.fromkeys(name for name, _ in LEGACY),
    "🎉 party 👩\u200d👩\u200d👧.png",
    "Łódź i Gdańsk.txt",
    "Đà Nẵng.jpg",
    "हिन्दी.txt",
    "ქართული.txt",
    "通.txt",
    "it's 100%.txt",
]
"""Names that modern clients send."""

HINTED = [
    ("בדיקה.txt", "cp1255", "he-IL"),
    ("مرحبا.txt", "cp1256", "ar"),
    ("測試.txt", "cp950", "zh-TW,zh;q=0.9"),
    ("表.txt", "cp932", "ja"),
    ("ПЛАН.txt", "cp1251", "ru-RU,ru;q=0.9,en;q=0.8"),
    ("שלום.txt", "cp1255", "he"),
    ("สวัสดี.txt", "cp874", "th-TH"),
    ("Příloha č. 1.txt", "cp1250", "cs"),
    ("Zażółć gęślą jaźń.txt", "cp1250", "pl"),
    ("İstanbul ığdır.txt", "cp1254", "tr"),
]
"""Too short or too like another language to be known by themselves; the client's language decides."""

AMBIGUOUS = {
    "cp1250": "Příloha č. 1.pdf|Dvořák.doc|Łódź.jpg|Zażółć gęślą jaźń.txt|Számla első.pdf|počítač.txt|Ştefan.doc",
    "cp1254": "İstanbul.txt|fiş özgeçmiş.pdf|ığdır.doc|Şirket.doc|doğum günü.jpg|çalışma.xls|Ağustos.pdf",
    "cp1257": "Žąsis.txt|Rīga.jpg|Šiauliai ąžuolas.txt",
    "cp850": "Straße.txt|Übung.doc|café.txt|señor.txt|São Paulo.txt|Müller.doc",
    "mac_roman": "Mär|Mär.txt|Übung.doc|café.txt|señor.txt|été.txt|São Paulo.txt",
    "cp437": "Straße.txt|año.txt",
    "cp852": "Příloha č. 1.pdf",
    "cp866": "Привет.txt|документ.txt",
    "cp1252": "è.txt|Þingvellir.jpg",
}
"""Names by their encoding that are not told from others without a hint: none of their bytes may become a letter."""

UNCLEAR = [
    *(name.encode(codec) for codec, names in AMBIGUOUS.items() for name in names.split("|")),
    b"\x95\\.txt",
    b"\xff\xfe\xfd.txt",
    b"a\x80\x81\xff.tar.gz",
    b"\xcf\xcb\xc0\xcd.txt",
    b"\xc0\xaf.txt",
]
"""What could be several things, or is none."""
