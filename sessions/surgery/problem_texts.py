"""The texts of the parallel problems: every form in seven languages, with places for its numbers.

They are written so that no word has to agree with a number: what is counted stands before it, or is measured by it.
"""

from __future__ import annotations

#: Chinese, English, Spanish, Arabic, Japanese, Korean, Swahili.
LANGUAGES = ("zh", "en", "es", "ar", "ja", "ko", "sw")

_FOLLOWING = {
    "zh": "数列 {s1}, {s2}, {s3}, {s4} 按同样的规律继续，下一个数是多少？",
    "en": "The sequence {s1}, {s2}, {s3}, {s4} goes on in the same way. What is the next number?",
    "es": "La sucesión {s1}, {s2}, {s3}, {s4} continúa de la misma manera. ¿Cuál es el número siguiente?",
    "ar": "تستمر المتتابعة {s1}، {s2}، {s3}، {s4} على النمط نفسه. ما العدد التالي؟",
    "ja": "数列 {s1}, {s2}, {s3}, {s4} は同じ規則で続きます。次の数はいくつですか。",
    "ko": "다음 수열은 같은 규칙으로 계속됩니다: {s1}, {s2}, {s3}, {s4}. 다음에 올 수는 얼마입니까?",
    "sw": "Mfuatano {s1}, {s2}, {s3}, {s4} unaendelea kwa namna ileile. Namba inayofuata ni ipi?",
}

#: Form → language → text.
TEXTS: dict[str, dict[str, str]] = {
    "calculation": {
        "zh": "{a} × {b} + {c} 等于多少？",
        "en": "What is {a} × {b} + {c}?",
        "es": "¿Cuánto es {a} × {b} + {c}?",
        "ar": "ما ناتج {a} × {b} + {c}؟",
        "ja": "{a} × {b} + {c} はいくつですか。",
        "ko": "{a} × {b} + {c}의 값은 얼마입니까?",
        "sw": "Je, {a} × {b} + {c} ni ngapi?",
    },
    "shop": {
        "zh": "一本笔记本 {a} 元，一支笔 {b} 元。买 {m} 本笔记本和 {n} 支笔一共要多少元？",
        "en": "A notebook costs {a} coins and a pen costs {b} coins. "
        "How many coins do {m} notebooks and {n} pens cost together?",
        "es": "Un cuaderno cuesta {a} monedas y un bolígrafo cuesta {b} monedas. "
        "¿Cuántas monedas cuestan en total {m} cuadernos y {n} bolígrafos?",
        "ar": "ثمن الدفتر الواحد هو {a} وثمن القلم الواحد هو {b}. "
        "ما الثمن الإجمالي إذا كان عدد الدفاتر {m} وعدد الأقلام {n}؟",
        "ja": "ノートは1冊{a}円、ペンは1本{b}円です。ノート{m}冊とペン{n}本を買うと、全部で何円ですか。",
        "ko": "공책은 한 권에 {a}원이고 펜은 한 자루에 {b}원입니다. 공책 {m}권과 펜 {n}자루를 사면 모두 얼마입니까?",
        "sw": "Daftari moja ni shilingi {a} na kalamu moja ni shilingi {b}. "
        "Madaftari {m} na kalamu {n} kwa pamoja ni shilingi ngapi?",
    },
    "sharing": {
        "zh": "一个水箱里有 {a} 升水。先取出 {b} 升，剩下的平均装进 {n} 个瓶子。每个瓶子里有多少升水？",
        "en": "A tank holds {a} litres of water. First {b} litres are taken out, and the rest is poured equally into "
        "{n} bottles. How many litres are in each bottle?",
        "es": "Un tanque contiene {a} litros de agua. Primero se sacan {b} litros y el resto se reparte por igual en "
        "{n} botellas. ¿Cuántos litros hay en cada botella?",
        "ar": "في خزان كمية من الماء مقدارها باللتر {a}. أُخذ منها أولًا {b}، ثم وُزّع الباقي بالتساوي على زجاجات "
        "عددها {n}. كم لترًا في كل زجاجة؟",
        "ja": "水そうに水が{a}リットル入っています。まず{b}リットルを取り出し、残りを{n}本のびんに等しく分けます。"
        "1本のびんには何リットル入りますか。",
        "ko": "물탱크에 물이 {a}리터 들어 있습니다. 먼저 {b}리터를 덜어 내고, 나머지를 병 {n}개에 똑같이 나누어 "
        "담습니다. 병 하나에는 물이 몇 리터 들어갑니까?",
        "sw": "Tangi lina lita {a} za maji. Kwanza lita {b} zinatolewa, kisha zinazobaki zinagawanywa sawa katika "
        "chupa {n}. Kila chupa ina lita ngapi?",
    },
    "team": {
        "zh": "从 {n} 个人中选出 {k} 个人组成一个小组，有多少种选法？",
        "en": "In how many ways can a team of {k} people be chosen from {n} people?",
        "es": "¿De cuántas maneras se puede elegir un equipo de {k} personas entre {n} personas?",
        "ar": "بكم طريقة يمكن اختيار فريق عدد أفراده {k} من مجموعة عدد أفرادها {n}؟",
        "ja": "{n}人の中から{k}人のチームを選ぶ方法は何通りありますか。",
        "ko": "{n}명 중에서 {k}명으로 된 팀을 뽑는 방법은 모두 몇 가지입니까?",
        "sw": "Timu ya watu {k} inaweza kuchaguliwa kutoka kwa watu {n} kwa njia ngapi?",
    },
    "shelf": {
        "zh": "从 {n} 本不同的书中取出 {k} 本在书架上排成一排，有多少种排法？",
        "en": "In how many ways can {k} of {n} different books be lined up on a shelf?",
        "es": "¿De cuántas maneras se pueden ordenar en fila en un estante {k} de {n} libros diferentes?",
        "ar": "بكم طريقة يمكن ترتيب كتب عددها {k} في صف على رف، إذا اختيرت من كتب مختلفة عددها {n}؟",
        "ja": "{n}冊の異なる本の中から{k}冊を選んで本棚に1列に並べる方法は何通りありますか。",
        "ko": "서로 다른 책 {n}권 중에서 {k}권을 골라 책꽂이에 한 줄로 꽂는 방법은 모두 몇 가지입니까?",
        "sw": "Vitabu {k} kati ya vitabu {n} tofauti vinaweza kupangwa kwa mstari kwenye rafu kwa njia ngapi?",
    },
    "codes": {
        "zh": "用 {n} 个不同的字母可以组成多少个长度为 {k} 的密码？字母可以重复。",
        "en": "How many codes of length {k} can be made from {n} different letters? Letters may repeat.",
        "es": "¿Cuántos códigos de longitud {k} se pueden formar con {n} letras diferentes? Las letras se pueden "
        "repetir.",
        "ar": "كم رمزًا طوله {k} يمكن تكوينه من حروف مختلفة عددها {n}؟ يمكن تكرار الحروف.",
        "ja": "{n}種類の文字を使って、長さ{k}の暗号は何通り作れますか。同じ文字を繰り返し使えます。",
        "ko": "서로 다른 글자 {n}개로 길이가 {k}인 암호를 몇 개 만들 수 있습니까? 같은 글자를 여러 번 쓸 수 있습니다.",
        "sw": "Misimbo mingapi yenye urefu wa {k} inaweza kutengenezwa kwa herufi {n} tofauti? Herufi zinaweza "
        "kurudiwa.",
    },
    "remainder": {
        "zh": "{a} 除以 {m} 的余数是多少？",
        "en": "What is the remainder when {a} is divided by {m}?",
        "es": "¿Cuál es el resto al dividir {a} entre {m}?",
        "ar": "ما باقي قسمة {a} على {m}؟",
        "ja": "{a}を{m}で割った余りはいくつですか。",
        "ko": "{a} ÷ {m}의 나머지는 얼마입니까?",
        "sw": "Baki ni ngapi {a} ikigawanywa kwa {m}?",
    },
    "power": {
        "zh": "{a} 的 {b} 次方除以 {m} 的余数是多少？",
        "en": "What is the remainder when {a} to the power {b} is divided by {m}?",
        "es": "¿Cuál es el resto al dividir {a} elevado a {b} entre {m}?",
        "ar": "ما باقي قسمة {a} أُس {b} على {m}؟",
        "ja": "{a}の{b}乗を{m}で割った余りはいくつですか。",
        "ko": "{a}의 {b}제곱을 어떤 수로 나눕니다. 그 수가 {m}일 때 나머지는 얼마입니까?",
        "sw": "Baki ni ngapi {a} kwa kipeo cha {b} ikigawanywa kwa {m}?",
    },
    "clock": {
        "zh": "一个十二小时制的时钟现在指向 {h} 点。{t} 小时后它指向几点？",
        "en": "A twelve-hour clock shows {h} o'clock. What hour does it show {t} hours later?",
        "es": "Un reloj de doce horas marca las {h} en punto. ¿Qué hora marcará {t} horas después?",
        "ar": "ساعة حائط بنظام اثنتي عشرة ساعة تشير إلى الساعة {h}. إلى أي ساعة تشير إذا مر من الساعات {t}؟",
        "ja": "12時間制の時計が{h}時を指しています。{t}時間後には何時を指しますか。",
        "ko": "12시간제 시계가 {h}시를 가리키고 있습니다. {t}시간 뒤에는 몇 시를 가리킵니까?",
        "sw": "Saa yenye namba kutoka moja hadi kumi na mbili inaonyesha namba {h}. Baada ya saa {t} itaonyesha namba "
        "gani?",
    },
    "rectangle": {
        "zh": "一个长方形的长是 {a} 厘米，宽是 {b} 厘米。它的面积是多少平方厘米？",
        "en": "A rectangle is {a} cm long and {b} cm wide. What is its area in square centimetres?",
        "es": "Un rectángulo mide {a} cm de largo y {b} cm de ancho. ¿Cuál es su área en centímetros cuadrados?",
        "ar": "مستطيل طوله {a} سم وعرضه {b} سم. ما مساحته بالسنتيمتر المربع؟",
        "ja": "横{a}cm、縦{b}cmの長方形があります。面積は何平方センチメートルですか。",
        "ko": "가로가 {a}cm, 세로가 {b}cm인 직사각형의 넓이는 몇 제곱센티미터입니까?",
        "sw": "Mstatili una urefu wa sentimita {a} na upana wa sentimita {b}. Eneo lake ni sentimita za mraba ngapi?",
    },
    "triangle": {
        "zh": "一个直角三角形的两条直角边长分别是 {a} 厘米和 {b} 厘米。斜边长多少厘米？",
        "en": "The two legs of a right triangle are {a} cm and {b} cm long. How long is its hypotenuse in centimetres?",
        "es": "Los catetos de un triángulo rectángulo miden {a} cm y {b} cm. ¿Cuántos centímetros mide la hipotenusa?",
        "ar": "طولا ضلعي القائمة في مثلث قائم الزاوية هما {a} سم و {b} سم. كم سنتيمترًا طول الوتر؟",
        "ja": "直角三角形の直角をはさむ2辺の長さは{a}cmと{b}cmです。斜辺の長さは何cmですか。",
        "ko": "직각삼각형의 직각을 낀 두 변의 길이가 {a}cm와 {b}cm입니다. 빗변의 길이는 몇 cm입니까?",
        "sw": "Pembetatu yenye pembe mraba ina pande mbili za sentimita {a} na sentimita {b} zinazokutana kwenye pembe "
        "hiyo. Upande mrefu zaidi ni sentimita ngapi?",
    },
    "angles": {
        "zh": "一个 {n} 边形的内角和是多少度？",
        "en": "What is the sum of the interior angles of a polygon with {n} sides, in degrees?",
        "es": "¿Cuál es la suma, en grados, de los ángulos interiores de un polígono de {n} lados?",
        "ar": "ما مجموع الزوايا الداخلية بالدرجات لمضلع عدد أضلاعه {n}؟",
        "ja": "{n}角形の内角の和は何度ですか。",
        "ko": "변이 {n}개인 다각형의 내각의 크기의 합은 몇 도입니까?",
        "sw": "Jumla ya pembe za ndani za poligoni yenye pande {n} ni digrii ngapi?",
    },
    "steps": _FOLLOWING,
    "factors": _FOLLOWING,
    "term": {
        "zh": "一个数列的第一项是 {a}，以后每一项都比前一项大 {d}。第 {n} 项是多少？",
        "en": "A sequence begins with {a}, and every term is {d} more than the one before it. What is term number {n}?",
        "es": "Una sucesión comienza con {a} y cada término supera al anterior en {d}. ¿Cuál es el término número {n}?",
        "ar": "الحد الأول في متتابعة هو {a}، وكل حد بعده يزيد على الحد السابق بمقدار {d}. ما الحد رقم {n}؟",
        "ja": "初項が{a}で、各項が前の項より{d}ずつ大きくなる数列があります。第{n}項はいくつですか。",
        "ko": "첫째 항이 {a}이고 각 항이 바로 앞의 항보다 {d}만큼 큰 수열이 있습니다. "
        "이 수열의 {n}번째 항은 얼마입니까?",
        "sw": "Mfuatano unaanza na {a}, na kila namba inayofuata inazidi iliyotangulia kwa {d}. Namba ya {n} katika "
        "mfuatano huo ni ipi?",
    },
}
